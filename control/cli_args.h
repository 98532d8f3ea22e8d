// SPDX-License-Identifier: Apache-2.0
// cli_args: the words of a `postern` command line, checked against the table of commands.
//
// What for: everything that can be known without posternd: nouns, verbs, options, how many
// arguments. The values are judged by posternd alone. Who calls it: cli.c, and the test. Memory:
// all texts are argv's or constants, or in the request (do not copy it). What can go wrong:
// CLI_WRONG with a reason, which cli.c prints with a hint (exit status 2). To add a command: a row
// in command.def and a handler (api.h).
#pragma once

#include "control/base/strbuf.h"

#define CLI_VALUES_MAX 8
#define CLI_NAME_MAX 128

enum cli_option_id {
	CLI_JSON,
	CLI_SOCKET,
	CLI_RUN_DIR,
	CLI_HELP,
	CLI_VERSION,
	CLI_EXPIRES,
	CLI_FOR,
	CLI_COMMENT,
	CLI_OPTIONS,
	CLI_ALL,
	CLI_LINES,
	CLI_FOLLOW,
	CLI_OPTION_COUNT
};
#define CLI_BIT(id) (1u << CLI_##id)
#define CLI_IP_OPTIONS (CLI_BIT(EXPIRES) | CLI_BIT(FOR) | CLI_BIT(COMMENT))
#define CLI_GLOBAL                                                                                 \
	(CLI_BIT(JSON) | CLI_BIT(SOCKET) | CLI_BIT(RUN_DIR) | CLI_BIT(HELP) | CLI_BIT(VERSION))

struct cli_option {
	const char *name;  // without the dashes; also the key of the request
	char letter;       // 0: none
	const char *value; // what follows ("TIME"); NULL: nothing
	const char *help;
};

// A row of the table. args: "NAME N", "[FILE]"; in lower case they are the keys of the request.
struct cli_command {
	const char *noun, *verb;
	bool verb_optional; // the noun alone means this row
	const char *args;
	uint32_t options; // CLI_BIT of those it takes beside the global ones
	const char *help;
};

struct cli_value {
	char key[16];
	const char *text;
};

struct cli_request {
	const struct cli_command *command; // NULL: help or version
	const char *help_noun;             // the noun that help is wanted or hinted for; NULL: all
	bool wants_help, wants_version, json;
	const char *socket, *run_dir; // NULL: not given
	uint32_t given;               // CLI_BIT of the options that were given
	const char *option[CLI_OPTION_COUNT];
	struct cli_value value[CLI_VALUES_MAX]; // arguments by name
	char name[CLI_NAME_MAX];                // a NAME of several words
	uint32_t value_count;
};

enum cli_result { CLI_OK, CLI_WRONG };

must_use enum cli_result cli_args_parse(int argc, char *const *argv, struct cli_request *out,
					struct strbuf *why);
// What to do when posternd does not answer; empty: nothing but to start it.
void cli_args_offline_hint(const struct cli_request *r, struct strbuf *out);
// cli_commands.c
uint32_t cli_command_count(void);
const struct cli_command *cli_command_at(uint32_t i);
const struct cli_option *cli_option_at(enum cli_option_id id);
