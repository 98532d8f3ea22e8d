// SPDX-License-Identifier: Apache-2.0
// Unit tests of the command line of `postern`: every row of the table, options in all places, and
// what is wrong usage. No posternd is needed.
#include "control/cli_args.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 16

// Splits at '|', so that arguments may hold blanks.
static enum cli_result
parse(const char *line, struct cli_request *r, struct strbuf *why)
{
	static char copy[512];
	char *argv[ARGS_MAX + 1] = {(char *)(uintptr_t) "postern"}, *save = NULL;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, "|", &save); word != NULL;
	     word = strtok_r(NULL, "|", &save)) {
		cr_assert(argc < ARGS_MAX);
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	strbuf_reset(why);
	return cli_args_parse(argc, argv, r, why);
}

static const char *
value_of(const struct cli_request *r, const char *key)
{
	for (uint32_t i = 0; i < r->value_count; i++) {
		if (strcmp(r->value[i].key, key) == 0)
			return r->value[i].text;
	}
	return NULL;
}

Test(control_cli, every_row_is_found_and_needs_its_arguments)
{
	char reason[512], line[128];
	struct strbuf why;
	struct cli_request r;

	strbuf_init(&why, reason, sizeof(reason));
	for (uint32_t i = 0; i < cli_command_count(); i++) {
		const struct cli_command *c = cli_command_at(i);
		uint32_t needs = strcmp(c->args, "NAME N") == 0
					 ? 2
					 : c->args[0] != '\0' && c->args[0] != '[';
		for (uint32_t given = 0; given <= 3; given++) {
			bool is_name = strstr(c->args, "NAME") != NULL; // takes several words
			uint32_t most = is_name ? 3 : c->args[0] == '[' ? 1 : needs;
			snprintf(line, sizeof(line), "%s|%s%s", c->noun, c->verb,
				 given == 0   ? ""
				 : given == 1 ? "|a"
				 : given == 2 ? "|a|b"
					      : "|a|b|c");
			enum cli_result result = parse(line, &r, &why);
			bool right = given >= needs && given <= most;
			cr_assert_eq(result, right ? CLI_OK : CLI_WRONG, "%s", line);
			if (!right) {
				cr_assert(why.len > 0);
				cr_assert_str_eq(r.help_noun, c->noun);
				continue;
			}
			cr_assert_eq(r.command, c);
			cr_assert_eq(r.value_count, is_name ? MIN(given, MAX(needs, 1u)) : given);
		}
		snprintf(line, sizeof(line), "%s", c->noun);
		if (c->verb_optional) {
			cr_assert_eq(parse(line, &r, &why), CLI_OK);
			cr_assert_eq(r.command, c);
		} else {
			cr_assert_eq(parse(line, &r, &why), CLI_WRONG);
		}
	}
}

Test(control_cli, rows_are_unique_and_their_options_exist)
{
	for (uint32_t i = 0; i < cli_command_count(); i++) {
		const struct cli_command *a = cli_command_at(i);
		cr_assert(a->help[0] != '\0');
		cr_assert_eq(a->options & CLI_GLOBAL, 0);
		cr_assert_eq(a->options >> CLI_OPTION_COUNT, 0);
		for (uint32_t k = i + 1; k < cli_command_count(); k++) {
			const struct cli_command *b = cli_command_at(k);
			cr_assert(strcmp(a->noun, b->noun) != 0 || strcmp(a->verb, b->verb) != 0);
		}
	}
	for (uint32_t i = 0; i < CLI_OPTION_COUNT; i++)
		cr_assert(cli_option_at(i)->name != NULL && cli_option_at(i)->help != NULL);
}

Test(control_cli, options_anywhere)
{
	static const char *const lines[] = {
		"--run-dir|/r|--json|block|add|192.0.2.1|--for|7d|--comment|a b",
		"block|--json|add|--for=7d|192.0.2.1|--comment=a b|--run-dir=/r",
		"block|add|--comment|a b|--run-dir|/r|--for|7d|--json|--|192.0.2.1",
	};
	char reason[512];
	struct strbuf why;
	struct cli_request r;

	strbuf_init(&why, reason, sizeof(reason));
	for (uint32_t i = 0; i < ARRAY_LEN(lines); i++) {
		cr_assert_eq(parse(lines[i], &r, &why), CLI_OK, "%s", reason);
		cr_assert(r.json && !r.wants_help && !r.wants_version);
		cr_assert_str_eq(r.run_dir, "/r");
		cr_assert_null(r.socket);
		cr_assert_str_eq(r.command->verb, "add");
		cr_assert_str_eq(value_of(&r, "prefix"), "192.0.2.1");
		cr_assert_str_eq(r.option[CLI_FOR], "7d");
		cr_assert_str_eq(r.option[CLI_COMMENT], "a b");
		cr_assert_null(r.option[CLI_EXPIRES]);
	}
}

Test(control_cli, names_and_numbers)
{
	char reason[512];
	struct strbuf why;
	struct cli_request r;

	strbuf_init(&why, reason, sizeof(reason));
	cr_assert_eq(parse("agent|priority|Content Filter|3", &r, &why), CLI_OK);
	cr_assert_str_eq(value_of(&r, "name"), "Content Filter");
	cr_assert_str_eq(value_of(&r, "n"), "3");
	// Unquoted names are as good.
	cr_assert_eq(parse("agent|enable|Content|Filter", &r, &why), CLI_OK);
	cr_assert_str_eq(value_of(&r, "name"), "Content Filter");
	cr_assert_eq(parse("agent|priority|Content|Filter|2|--json", &r, &why), CLI_OK);
	cr_assert_str_eq(value_of(&r, "name"), "Content Filter");
	cr_assert_str_eq(value_of(&r, "n"), "2");
	cr_assert_eq(parse("agent|reset|Content|Filter", &r, &why), CLI_OK);
	cr_assert_str_eq(value_of(&r, "name"), "Content Filter");
	char many[CLI_NAME_MAX + 32];
	snprintf(many, sizeof(many), "agent|enable|a|%0*d", CLI_NAME_MAX, 1);
	cr_assert_eq(parse(many, &r, &why), CLI_WRONG);
	cr_assert_not_null(strstr(reason, "too long"), "%s", reason);
	cr_assert_eq(parse("log|tail|-n5|-f", &r, &why), CLI_OK);
	cr_assert_str_eq(r.option[CLI_LINES], "5");
	cr_assert((r.given & CLI_BIT(FOLLOW)) != 0);
	cr_assert_eq(parse("log|tail|-n|5", &r, &why), CLI_OK);
	cr_assert_str_eq(r.option[CLI_LINES], "5");
	cr_assert_eq(parse("log|tail|--lines=5", &r, &why), CLI_OK);
	cr_assert_str_eq(r.option[CLI_LINES], "5");
	cr_assert_eq(parse("policy|check|-", &r, &why), CLI_OK);
	cr_assert_str_eq(value_of(&r, "file"), "-");
	cr_assert_eq(parse("block|add|--|-x", &r, &why), CLI_OK);
	cr_assert_str_eq(value_of(&r, "prefix"), "-x");
}

Test(control_cli, hint_when_nobody_listens)
{
	char reason[512], text[256];
	struct strbuf why, hint;
	struct cli_request r;

	strbuf_init(&why, reason, sizeof(reason));
	strbuf_init(&hint, text, sizeof(text));
	cr_assert_eq(parse("policy|check|/etc/x.yaml", &r, &why), CLI_OK);
	cli_args_offline_hint(&r, &hint);
	cr_assert_str_eq(text, "use: posternd --check --config /etc/x.yaml");
	strbuf_reset(&hint);
	cr_assert_eq(parse("policy|check", &r, &why), CLI_OK);
	cli_args_offline_hint(&r, &hint);
	cr_assert_str_eq(text, "use: posternd --check --config FILE");
	strbuf_reset(&hint);
	cr_assert_eq(parse("policy|apply", &r, &why), CLI_OK);
	cli_args_offline_hint(&r, &hint);
	cr_assert_str_eq(text, "");
}

Test(control_cli, help_and_version)
{
	char reason[512];
	struct strbuf why;
	struct cli_request r;

	strbuf_init(&why, reason, sizeof(reason));
	cr_assert_eq(parse("--help", &r, &why), CLI_OK);
	cr_assert(r.wants_help && r.help_noun == NULL);
	cr_assert_eq(parse("help", &r, &why), CLI_OK);
	cr_assert(r.wants_help && r.help_noun == NULL);
	cr_assert_eq(parse("help|block", &r, &why), CLI_OK);
	cr_assert_str_eq(r.help_noun, "block");
	cr_assert_eq(parse("block|add|-h", &r, &why), CLI_OK);
	cr_assert(r.wants_help);
	cr_assert_str_eq(r.help_noun, "block");
	cr_assert_eq(parse("--version", &r, &why), CLI_OK);
	cr_assert(r.wants_version);
	cr_assert_eq(parse("help|nothing", &r, &why), CLI_WRONG);
	cr_assert_null(r.help_noun);
}

Test(control_cli, wrong_usage_says_why)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{"", "a command is missing"},
		{"blok", "there is no \"blok\""},
		{"block", "add, del, list"},
		{"block|frob", "block has no \"frob\""},
		{"block|add", "block add PREFIX"},
		{"block|add|a|b", "\"b\" is too much"},
		{"block|add|a|--for", "DURATION is missing"},
		{"block|add|a|--for|1d|--for|2d", "given twice"},
		{"block|del|a|--for|1d", "takes no --for"},
		{"status|--all", "takes no --all"},
		{"status|--frob", "there is no option --frob"},
		{"status|--jso", "there is no option --jso"},
		{"status|-x", "there is no option -x"},
		{"status|--json=1", "takes no value"},
		{"--socket", "PATH is missing"},
		{"a|b|c|d|e|f|g|h|i", "too many arguments"},
		{"agent|priority|x", "NAME N"},
	};
	char reason[512];
	struct strbuf why;
	struct cli_request r;

	strbuf_init(&why, reason, sizeof(reason));
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		cr_assert_eq(parse(rows[i].line, &r, &why), CLI_WRONG, "%s", rows[i].line);
		cr_assert_not_null(strstr(reason, rows[i].says), "%s: %s", rows[i].line, reason);
	}
}
