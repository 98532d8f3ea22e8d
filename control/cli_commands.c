// SPDX-License-Identifier: Apache-2.0
// cli_commands: one row a command of `postern`. A new command is a row here, and in posternd a row
// in api.c with its handler in the api_x.c of its noun. Help, checks and requests follow from the
// row.
#include "control/cli_args.h"

#define IP_OPTIONS (CLI_BIT(EXPIRES) | CLI_BIT(FOR) | CLI_BIT(COMMENT))

static const struct cli_command commands[] = {
	{"status", "show", true, "", 0,
	 "both processes, the policy and how far it has come, workers, losses"},
	{"agent", "list", false, "", 0, "the agents by priority"},
	{"agent", "enable", false, "NAME", 0, "let an agent take part"},
	{"agent", "disable", false, "NAME", 0, "leave an agent out"},
	{"agent", "priority", false, "NAME N", 0, "move an agent to place N; 1 is asked first"},
	{"agent", "reset", false, "[NAME]", 0,
	 "one agent, or all, as in the configuration file again"},
	{"pipeline", "show", true, "", 0, "for each event the agents that are asked, in order"},
	{"allow", "add", false, "PREFIX", IP_OPTIONS,
	 "put an address or a network on the IP allow list"},
	{"allow", "del", false, "PREFIX", 0, "take it off"},
	{"allow", "list", false, "", 0, "the IP allow list"},
	{"block", "add", false, "PREFIX", IP_OPTIONS,
	 "put an address or a network on the IP block list"},
	{"block", "del", false, "PREFIX", 0, "take it off"},
	{"block", "list", false, "", 0, "the IP block list"},
	{"policy", "check", false, "[FILE]", 0,
	 "say everything that is wrong with a configuration file"},
	{"policy", "apply", false, "[FILE]", 0,
	 "read the configuration file (again) and put it in force"},
	{"policy", "show", false, "", CLI_BIT(OPTIONS), "what is in force"},
	{"stats", "show", true, "", CLI_BIT(ALL), "counters, events, decisions of the agents"},
	{"session", "list", false, "", 0, "the SMTP sessions that are open"},
	{"log", "tail", false, "", CLI_BIT(LINES) | CLI_BIT(FOLLOW),
	 "the last lines of the message log"},
};

static const struct cli_option options[CLI_OPTION_COUNT] = {
	[CLI_JSON] = {"json", 0, NULL, "print data as JSON, for programs"},
	[CLI_SOCKET] = {"socket", 0, "PATH", "posternd's socket"},
	[CLI_RUN_DIR] = {"run-dir", 0, "DIR", "posternd's run directory (/run/postern)"},
	[CLI_HELP] = {"help", 'h', NULL, "this"},
	[CLI_VERSION] = {"version", 0, NULL, "the version"},
	[CLI_EXPIRES] = {"expires", 0, "TIME", "until then: 2026-12-31T18:00:00Z, 2026-12-31"},
	[CLI_FOR] = {"for", 0, "DURATION", "from now on: 90s, 30m, 12h, 7d, 4w"},
	[CLI_COMMENT] = {"comment", 0, "TEXT", "why, for those who come later"},
	[CLI_OPTIONS] = {"options", 0, NULL, "every option with its value, default and meaning"},
	[CLI_ALL] = {"all", 0, NULL, "zeros too, and each worker's part"},
	[CLI_LINES] = {"lines", 'n', "N", "so many lines (20)"},
	[CLI_FOLLOW] = {"follow", 'f', NULL, "go on with what comes; end with Ctrl-C"},
};

uint32_t
cli_command_count(void)
{
	return ARRAY_LEN(commands);
}

const struct cli_command *
cli_command_at(uint32_t i)
{
	CHECK(i < ARRAY_LEN(commands));
	return &commands[i];
}

const struct cli_option *
cli_option_at(enum cli_option_id id)
{
	CHECK((uint32_t)id < CLI_OPTION_COUNT);
	return &options[id];
}
