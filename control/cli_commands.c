// SPDX-License-Identifier: Apache-2.0
// cli_commands: the tables of commands and options that the CLI checks its words against. A command
// is a row of command.def and its handler; an option of its own is a row here.
#include "control/cli_args.h"

static const struct cli_command commands[] = {
#define COMMAND(handler, noun, verb, alone, args, options, keys, help)                             \
	{noun, verb, alone, args, options, help},
#include "control/command.def"
#undef COMMAND
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
