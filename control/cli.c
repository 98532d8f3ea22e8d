// SPDX-License-Identifier: Apache-2.0
// cli: the command `postern`: reads its command line by the table in cli_commands.c, asks posternd,
// prints.
//
// It knows nothing about policies: one row in the table and one handler in posternd (api_x.c) make
// a command. Data goes to stdout, everything else to stderr. Exit status: 0 done, 1 refused or
// failed (the reasons are on stderr), 2 wrong usage (with a hint).
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/cli_args.h"
#include "control/cli_client.h"
#include "control/cli_tail.h"
#include "control/version.h"

#define RUN_DIR "/run/postern"
#define SOCKET_NAME "control.sock"

static void
print_command(FILE *out, const struct cli_command *c)
{
	char text[160];
	struct strbuf b;

	strbuf_init(&b, text, sizeof(text));
	strbuf_addf(&b, c->verb_optional ? "%s" : "%s %s", c->noun, c->verb);
	if (c->args[0] != '\0')
		strbuf_addf(&b, " %s", c->args);
	for (uint32_t i = 0; i < CLI_OPTION_COUNT; i++) {
		const struct cli_option *o = cli_option_at(i);
		if ((c->options >> i & 1) == 0)
			continue;
		if (o->letter != 0)
			strbuf_addf(&b, " [-%c", o->letter);
		else
			strbuf_addf(&b, " [--%s", o->name);
		strbuf_addf(&b, "%s%s]", o->value != NULL ? " " : "",
			    o->value != NULL ? o->value : "");
	}
	if (b.len > 34)
		fprintf(out, "  %s\n  %-34s  %s\n", text, "", c->help);
	else
		fprintf(out, "  %-34s  %s\n", text, c->help);
}

static void
print_options(FILE *out, uint32_t mask)
{
	for (uint32_t i = 0; i < CLI_OPTION_COUNT; i++) {
		const struct cli_option *o = cli_option_at(i);
		char text[64];
		struct strbuf b;
		if ((mask >> i & 1) == 0)
			continue;
		strbuf_init(&b, text, sizeof(text));
		if (o->letter != 0)
			strbuf_addf(&b, "-%c, ", o->letter);
		strbuf_addf(&b, "--%s%s%s", o->name, o->value != NULL ? " " : "",
			    o->value != NULL ? o->value : "");
		fprintf(out, "  %-34s  %s\n", text, o->help);
	}
}

static void
print_help(FILE *out, const char *noun)
{
	uint32_t options = 0;

	fputs(noun == NULL ? "usage: postern NOUN VERB [ARGUMENT]... [OPTION]...\n\n" : "usage:\n",
	      out);
	for (uint32_t i = 0; i < cli_command_count(); i++) {
		const struct cli_command *c = cli_command_at(i);
		if (noun != NULL && strcmp(c->noun, noun) != 0)
			continue;
		print_command(out, c);
		options |= c->options;
	}
	if (options != 0) {
		fputs("\noptions of these:\n", out);
		print_options(out, options);
	}
	fputs("\noptions of all, anywhere:\n", out);
	print_options(out, CLI_GLOBAL);
	fputs("\nexit status: 0 done, 1 refused (the reasons are on stderr), 2 wrong usage\n", out);
	if (noun == NULL)
		fputs("more: postern help NOUN\n", out);
}

static bool
answer_print(const struct cli_request *r, const json_t *answer)
{
	const json_t *data = json_object_get(answer, "data");
	const json_t *text = json_object_get(answer, "text");

	if (r->json && data != NULL) {
		if (json_dumpf(data, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY) != 0)
			return false;
		(void)putchar('\n');
	} else if (!r->json && text != NULL) {
		(void)fwrite(json_string_value(text), 1, json_string_length(text), stdout);
	}
	return fflush(stdout) == 0;
}

// A file is named as posternd has to open it: from the root. That it may be missing is posternd's
// to say.
static json_t *
value_json(const struct cli_value *v)
{
	char here[PATH_MAX], path[2 * PATH_MAX + 2];

	if (strcmp(v->key, "file") != 0 || v->text[0] == '/' || getcwd(here, sizeof(here)) == NULL)
		return json_string(v->text);
	int n = snprintf(path, sizeof(path), "%s/%s", here, v->text);
	return json_string(n > 0 && (size_t)n < sizeof(path) ? path : v->text);
}

static json_t *
request_make(const struct cli_request *r)
{
	json_t *args = json_object();
	int bad = args == NULL;

	for (uint32_t i = 0; i < r->value_count; i++)
		bad |= json_object_set_new(args, r->value[i].key, value_json(&r->value[i]));
	for (uint32_t i = 0; i < CLI_OPTION_COUNT; i++) {
		const struct cli_option *o = cli_option_at(i);
		if ((r->given & ~CLI_GLOBAL) >> i & 1)
			bad |= json_object_set_new(args, o->name,
						   o->value != NULL ? json_string(r->option[i])
								    : json_true());
	}
	if (bad == 0)
		return json_pack("{s:s, s:s, s:b, s:o}", "noun", r->command->noun, "verb",
				 r->command->verb, "json", (int)r->json, "args", args);
	json_decref(args);
	return NULL;
}

static int
command_run(struct cli_client *client, const struct cli_request *r)
{
	char reason[512];
	struct strbuf why;

	if (strcmp(r->command->noun, "log") == 0)
		return cli_tail_run(client, r);
	strbuf_init(&why, reason, sizeof(reason));
	json_t *request = request_make(r);
	if (request == NULL) {
		fputs("postern: the arguments are not UTF-8\n", stderr);
		return 2;
	}
	json_t *answer = cli_client_ask(client, request, &why);
	json_decref(request);
	if (answer == NULL) {
		fprintf(stderr, "postern: %s\n", reason);
		return 1;
	}
	bool printed = answer_print(r, answer);
	int status = cli_answer_status(answer);
	json_decref(answer);
	if (!printed) {
		perror("postern: stdout");
		return 1;
	}
	return status;
}

int
main(int argc, char **argv)
{
	struct cli_request r;
	struct cli_client client;
	char reason[512], path[PATH_MAX];
	struct strbuf why;

	strbuf_init(&why, reason, sizeof(reason));
	if (cli_args_parse(argc, argv, &r, &why) != CLI_OK) {
		const char *noun = r.help_noun;
		fprintf(stderr, "postern: %s\nhint: postern help%s%s\n", reason,
			noun != NULL ? " " : "", noun != NULL ? noun : "");
		return 2;
	}
	if (r.wants_version) {
		puts("postern " POSTERN_VERSION);
		return 0;
	}
	if (r.wants_help) {
		print_help(stdout, r.help_noun);
		return 0;
	}
	int n = r.socket != NULL ? snprintf(path, sizeof(path), "%s", r.socket)
				 : snprintf(path, sizeof(path), "%s/%s",
					    r.run_dir != NULL ? r.run_dir : RUN_DIR, SOCKET_NAME);
	strbuf_reset(&why);
	if (n < 0 || (size_t)n >= sizeof(path) || !cli_client_open(&client, path, &why)) {
		fprintf(stderr, "postern: %s\n",
			why.len > 0 ? reason : "the socket's path is too long");
		strbuf_reset(&why);
		cli_args_offline_hint(&r, &why);
		if (why.len > 0)
			fprintf(stderr, "hint: %s\n", reason);
		return 1;
	}
	int status = command_run(&client, &r);
	cli_client_close(&client);
	return status;
}
