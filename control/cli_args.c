// SPDX-License-Identifier: Apache-2.0
#include "control/cli_args.h"

#include <string.h>

#define WORDS_MAX 8

struct words {
	const char *word[WORDS_MAX]; // what is not an option
	uint32_t count;
};

// --- options ---

static bool
option_find(const char *arg, enum cli_option_id *out, const char **inline_value)
{
	const char *name = arg + 2, *equals = strchr(arg, '=');
	size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);

	*inline_value = NULL;
	for (uint32_t i = 0; i < CLI_OPTION_COUNT; i++) {
		const struct cli_option *o = cli_option_at(i);
		if (arg[1] != '-') {
			if (o->letter == 0 || o->letter != arg[1])
				continue;
			if (arg[2] != '\0')
				*inline_value = arg + 2; // -n5
			*out = i;
			return true;
		}
		if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) {
			*inline_value = equals != NULL ? equals + 1 : NULL;
			*out = i;
			return true;
		}
	}
	return false;
}

// Takes argv[*i] as an option, and the word behind it if that is its value.
static enum cli_result
option_take(int argc, char *const *argv, int *i, struct cli_request *r, struct strbuf *why)
{
	const char *arg = argv[*i], *value;
	enum cli_option_id id;

	if (!option_find(arg, &id, &value)) {
		strbuf_addf(why, "there is no option %s", arg);
		return CLI_WRONG;
	}
	const struct cli_option *o = cli_option_at(id);
	if (o->value == NULL && value != NULL) {
		strbuf_addf(why, "--%s takes no value", o->name);
		return CLI_WRONG;
	}
	if (o->value != NULL && value == NULL) {
		if (*i + 1 >= argc) {
			strbuf_addf(why, "--%s: %s is missing", o->name, o->value);
			return CLI_WRONG;
		}
		*i += 1;
		value = argv[*i];
	}
	if (o->value != NULL && (r->given >> id & 1) != 0) {
		strbuf_addf(why, "--%s is given twice", o->name);
		return CLI_WRONG;
	}
	r->given |= 1u << id;
	r->option[id] = value;
	return CLI_OK;
}

static enum cli_result
words_split(int argc, char *const *argv, struct cli_request *r, struct words *w, struct strbuf *why)
{
	bool only_words = false;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		if (!only_words && strcmp(arg, "--") == 0) {
			only_words = true;
		} else if (!only_words && arg[0] == '-' && arg[1] != '\0') {
			if (option_take(argc, argv, &i, r, why) != CLI_OK)
				return CLI_WRONG;
		} else if (w->count == WORDS_MAX) {
			strbuf_add_str(why, "too many arguments");
			return CLI_WRONG;
		} else {
			w->word[w->count++] = arg;
		}
	}
	return CLI_OK;
}

// --- commands ---

static bool
noun_exists(const char *noun)
{
	for (uint32_t i = 0; i < cli_command_count(); i++) {
		if (strcmp(cli_command_at(i)->noun, noun) == 0)
			return true;
	}
	return false;
}

// Adds the words of a column, each once: the nouns (of == NULL), or the verbs of a noun.
static void
words_list(struct strbuf *b, const char *of)
{
	const char *last = "";

	for (uint32_t i = 0; i < cli_command_count(); i++) {
		const struct cli_command *c = cli_command_at(i);
		const char *word = of == NULL ? c->noun : c->verb;
		if ((of != NULL && strcmp(c->noun, of) != 0) || strcmp(word, last) == 0)
			continue;
		strbuf_addf(b, "%s%s", last[0] == '\0' ? "" : ", ", word);
		last = word;
	}
}

// Finds the row; *used: words that it took.
static const struct cli_command *
command_find(const struct words *w, uint32_t *used, struct strbuf *why)
{
	const struct cli_command *alone = NULL;

	CHECK(w->count > 0);
	for (uint32_t i = 0; i < cli_command_count(); i++) {
		const struct cli_command *c = cli_command_at(i);
		if (strcmp(c->noun, w->word[0]) != 0)
			continue;
		if (w->count > 1 && strcmp(c->verb, w->word[1]) == 0) {
			*used = 2;
			return c;
		}
		if (c->verb_optional)
			alone = c;
	}
	*used = 1;
	if (alone != NULL)
		return alone;
	if (!noun_exists(w->word[0])) {
		strbuf_addf(why, "there is no \"%s\"; there are: ", w->word[0]);
		words_list(why, NULL);
	} else {
		strbuf_addf(why,
			    w->count > 1 ? "%s has no \"%s\"; it has: "
					 : "%s: one of these is missing%s: ",
			    w->word[0], w->count > 1 ? w->word[1] : "");
		words_list(why, w->word[0]);
	}
	return NULL;
}

// The next word of the row's args: its name in lower case, and whether it may be missing.
static bool
arg_next(struct span *rest, char key[16], bool *optional)
{
	uint32_t n = 0;

	if (rest->n == 0)
		return false;
	int64_t end = span_find(*rest, ' ');
	struct span word = span_sub(*rest, 0, end < 0 ? rest->n : (uint32_t)end);
	*rest = end < 0 ? SPAN_NONE : span_from(*rest, (uint32_t)end + 1);
	*optional = word.n > 2 && word.p[0] == '[';
	if (*optional)
		word = span_sub(word, 1, word.n - 2);
	CHECK(word.n > 0 && word.n < 16);
	for (; n < word.n; n++)
		key[n] = (char)ascii_lower(word.p[n]);
	key[n] = '\0';
	return true;
}

// How many words a row's args still need.
static uint32_t
args_needed(struct span rest)
{
	uint32_t n = 0;
	char key[16];
	bool optional;

	while (arg_next(&rest, key, &optional))
		n += !optional;
	return n;
}

// The names of agents have several words. Unquoted they are several arguments: NAME takes all that
// the arguments behind it do not need. NULL: too long.
static const char *
name_join(struct cli_request *r, const struct words *w, uint32_t *used, uint32_t behind)
{
	struct strbuf b;

	CHECK(*used < w->count);
	if (*used + 1 + behind >= w->count)
		return w->word[(*used)++];
	strbuf_init(&b, r->name, sizeof(r->name));
	for (uint32_t first = *used; *used + behind < w->count; *used += 1)
		strbuf_addf(&b, "%s%s", *used > first ? " " : "", w->word[*used]);
	return b.truncated ? NULL : r->name;
}

static enum cli_result
values_take(struct cli_request *r, const struct words *w, uint32_t used, struct strbuf *why)
{
	const struct cli_command *c = r->command;
	struct span rest = span_str(c->args);
	char key[16];
	bool optional;

	while (arg_next(&rest, key, &optional)) {
		if (used == w->count && optional)
			continue;
		if (used == w->count) {
			strbuf_addf(why, "%s %s: an argument is missing: %s %s %s", c->noun,
				    c->verb, c->noun, c->verb, c->args);
			return CLI_WRONG;
		}
		CHECK(r->value_count < CLI_VALUES_MAX);
		struct cli_value *v = &r->value[r->value_count++];
		memcpy(v->key, key, sizeof(v->key));
		v->text = strcmp(key, "name") == 0 ? name_join(r, w, &used, args_needed(rest))
						   : w->word[used++];
		if (v->text == NULL) {
			strbuf_addf(why, "%s %s: the name is too long", c->noun, c->verb);
			return CLI_WRONG;
		}
	}
	if (used < w->count) {
		strbuf_addf(why, "%s %s: \"%s\" is too much", c->noun, c->verb, w->word[used]);
		return CLI_WRONG;
	}
	for (uint32_t i = 0; i < CLI_OPTION_COUNT; i++) {
		if ((r->given & ~(c->options | CLI_GLOBAL)) >> i & 1) {
			strbuf_addf(why, "%s %s takes no --%s", c->noun, c->verb,
				    cli_option_at(i)->name);
			return CLI_WRONG;
		}
	}
	return CLI_OK;
}

// `postern help [NOUN]`, `postern [NOUN] --help`.
static enum cli_result
help_take(struct cli_request *r, const struct words *w, uint32_t used, struct strbuf *why)
{
	r->wants_help = true;
	r->help_noun = w->count > used ? w->word[used] : NULL;
	if (r->help_noun == NULL || noun_exists(r->help_noun))
		return CLI_OK;
	strbuf_addf(why, "there is no \"%s\"; there are: ", r->help_noun);
	words_list(why, NULL);
	r->help_noun = NULL;
	return CLI_WRONG;
}

void
cli_args_offline_hint(const struct cli_request *r, struct strbuf *out)
{
	CHECK(r != NULL && out != NULL);
	if (r->command == NULL || strcmp(r->command->noun, "policy") != 0 ||
	    strcmp(r->command->verb, "check") != 0)
		return;
	strbuf_addf(out, "use: posternd --check --config %s",
		    r->value_count > 0 ? r->value[0].text : "FILE");
}

must_use enum cli_result
cli_args_parse(int argc, char *const *argv, struct cli_request *out, struct strbuf *why)
{
	struct words w = {.count = 0};
	uint32_t used = 0;

	CHECK(out != NULL && why != NULL);
	CHECK(argv != NULL);
	*out = (struct cli_request){.command = NULL};
	if (words_split(argc, argv, out, &w, why) != CLI_OK)
		return CLI_WRONG;
	out->json = (out->given & CLI_BIT(JSON)) != 0;
	out->socket = out->option[CLI_SOCKET];
	out->run_dir = out->option[CLI_RUN_DIR];
	if ((out->given & CLI_BIT(VERSION)) != 0) {
		out->wants_version = true;
		return CLI_OK;
	}
	if (w.count > 0 && strcmp(w.word[0], "help") == 0)
		return help_take(out, &w, 1, why);
	if ((out->given & CLI_BIT(HELP)) != 0)
		return help_take(out, &w, 0, why);
	if (w.count == 0) {
		strbuf_add_str(why, "a command is missing; there are: ");
		words_list(why, NULL);
		return CLI_WRONG;
	}
	out->help_noun = noun_exists(w.word[0]) ? w.word[0] : NULL;
	out->command = command_find(&w, &used, why);
	return out->command == NULL ? CLI_WRONG : values_take(out, &w, used, why);
}
