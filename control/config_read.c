// SPDX-License-Identifier: Apache-2.0
// config_read: walks the sections of the file and reads their scalar options by the table of
// schema.h.
#include "control/config_read.h"

#include <string.h>

#include "control/config_value.h"

#define SEEN_MAX 64 // keys that one mapping can know
#define QUOTE_MAX 64
#define QUOTE_KEY_MAX 40

// At most so much of a wrong text is repeated to its author.
#define QUOTED(s) (int)MIN((s).n, QUOTE_MAX), (const char *)(s).p

#define QUOTED_KEY(s) (int)key_quote_length(s), (const char *)(s).p

struct seen {
	struct span key[SEEN_MAX];
	uint32_t line[SEEN_MAX];
	uint32_t count;
};

bool
reader_gives_up(const struct reader *r)
{
	return r->no_memory || r->d->errors >= READ_MISTAKES_MAX;
}

void
reader_path(struct reader *r, const char *section, const char *key)
{
	struct strbuf b;

	CHECK(section != NULL);
	CHECK(key != NULL);
	strbuf_init(&b, r->path, sizeof(r->path));
	strbuf_addf(&b, "%s%s%s", section, section[0] != '\0' && key[0] != '\0' ? "." : "", key);
}

void
nearest_init(struct nearest *s, struct span word)
{
	// A third of the word may be wrong, not more: a far guess only misleads.
	*s = (struct nearest){.word = word, .distance = MIN(word.n / 3 + 1, 4) + 1};
}

void
nearest_offer(struct nearest *s, const char *word)
{
	CHECK(word != NULL);
	uint32_t distance = schema_distance(s->word, span_str(word), s->distance);

	if (distance < s->distance) {
		s->distance = distance;
		s->best = word;
	}
}

const char *
nearest_hint(const struct nearest *s, struct strbuf *out)
{
	if (s->best != NULL)
		strbuf_addf(out, "; did you mean \"%s\"?", s->best);
	return out->p;
}

bool
read_text(struct reader *r, yaml_ref n, struct span *out)
{
	enum yaml_kind kind = yaml_tree_kind(r->t, n);

	CHECK(out != NULL);
	if (kind != YAML_KIND_TEXT) {
		READ_ERROR(r, n, "%s: needs a value, not %s", r->path, yaml_kind_name(kind));
		return false;
	}
	if (yaml_tree_is_null(r->t, n)) {
		READ_ERROR(r, n, "%s: has no value", r->path);
		return false;
	}
	*out = yaml_tree_text(r->t, n);
	return true;
}

bool
read_u32(struct reader *r, yaml_ref n, uint32_t min, uint32_t max, bool bytes, uint32_t *out)
{
	struct span s;

	CHECK(min <= max);
	CHECK(out != NULL);
	if (!read_text(r, n, &s))
		return false;
	switch (value_u32(s, min, max, bytes, out)) {
	case VALUE_NUMBER_OK:
		return true;
	case VALUE_NUMBER_SMALL:
		READ_ERROR(r, n, "%s: %.*s is too small, at least %u", r->path, QUOTED(s), min);
		return false;
	case VALUE_NUMBER_LARGE:
		READ_ERROR(r, n, "%s: %.*s is too large, at most %u", r->path, QUOTED(s), max);
		return false;
	default:
		READ_ERROR(r, n, "%s: \"%.*s\" is not a whole number%s", r->path, QUOTED(s),
			   bytes ? " (k and M may follow it)" : "");
		return false;
	}
}

bool
read_choice(struct reader *r, yaml_ref n, const char *const *names, uint32_t count, uint32_t *out)
{
	struct span s;
	char mem[160];
	struct strbuf list;

	CHECK(count > 0);
	CHECK(out != NULL);
	if (!read_text(r, n, &s))
		return false;
	strbuf_init(&list, mem, sizeof(mem));
	for (uint32_t i = 0; i < count; i++) {
		if (span_eq_nocase(s, span_str(names[i]))) {
			*out = i;
			return true;
		}
		strbuf_addf(&list, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", names[i]);
	}
	READ_ERROR(r, n, "%s: \"%.*s\" is not one of %s", r->path, QUOTED(s), mem);
	return false;
}

static void
read_bool(struct reader *r, yaml_ref n, uint32_t *out)
{
	struct span s;
	bool b;

	if (!read_text(r, n, &s))
		return;
	if (value_bool(s, &b))
		*out = b;
	else
		READ_ERROR(r, n, "%s: \"%.*s\" is not true or false", r->path, QUOTED(s));
}

// Texts of options go into replies and header lines: nothing in them may end a line.
static void
read_option_text(struct reader *r, yaml_ref n, enum setting_id id, const char **out)
{
	const struct setting *setting = schema_setting(id);
	struct span s;

	if (!read_text(r, n, &s))
		return;
	if (s.n == 0 && setting->text[0] != '\0') // what is empty by default may be empty
		READ_ERROR(r, n, "%s: must not be empty", r->path);
	else if (s.n > setting->max)
		READ_ERROR(r, n, "%s: %u bytes are too long, at most %u", r->path, s.n,
			   setting->max);
	else if (!value_is_printable(s))
		READ_ERROR(r, n, "%s: only printable ASCII is allowed here", r->path);
	else if (id == SETTING_server_hostname && !value_is_domain(s))
		READ_ERROR(r, n, "%s: \"%.*s\" is not a host name", r->path, QUOTED(s));
	else
		*out = reader_copy(r, s, false);
}

static void
read_option(struct reader *r, yaml_ref n, enum setting_id id)
{
	const struct setting *s = schema_setting(id);
	struct setting_value *v = &r->c->setting[id];
	struct yaml_place at = yaml_tree_place(r->t, n);

	v->line = at.line;
	v->column = at.column;
	switch (s->kind) {
	case SETTING_KIND_U32:
		if (!read_u32(r, n, s->min, s->max, strcmp(s->unit, "bytes") == 0, &v->number))
			v->number = s->number;
		return;
	case SETTING_KIND_BOOL:
		read_bool(r, n, &v->number);
		return;
	case SETTING_KIND_TEXT:
		read_option_text(r, n, id, &v->text);
		if (v->text == NULL) // no memory
			v->text = s->text;
		return;
	case SETTING_KIND_CHOICE:
		if (!read_choice(r, n, s->choice, s->choice_count, &v->number))
			v->number = s->number;
		return;
	}
}

// A file that is no configuration at all looks like one long unknown key: enough of it to be found
// again is shown, and no more. Whole characters only; diag shows a control character as \xNN.
static uint32_t
key_quote_length(struct span s)
{
	uint32_t n = 0, width = 0;

	for (; n < s.n; n++) {
		width += s.p[n] < 0x20 || s.p[n] == 0x7f ? 4 : 1;
		if (width > QUOTE_KEY_MAX)
			break;
	}
	while (n > 0 && n < s.n && (s.p[n] & 0xc0) == 0x80)
		n--;
	return n;
}

// True: the key is there for the first time in its mapping.
static bool
seen_add(struct reader *r, struct seen *seen, yaml_ref key)
{
	struct span name = yaml_tree_text(r->t, key);

	for (uint32_t i = 0; i < seen->count; i++) {
		if (span_eq(seen->key[i], name)) {
			READ_ERROR(r, key, "\"%.*s\" is given twice, first in line %u",
				   QUOTED(name), seen->line[i]);
			return false;
		}
	}
	CHECK(seen->count < SEEN_MAX); // only known keys get here
	seen->key[seen->count] = name;
	seen->line[seen->count++] = yaml_tree_place(r->t, key).line;
	return true;
}

// A key of a mapping as text; SPAN_NONE: it is not one, and that has been said.
static struct span
key_text(struct reader *r, yaml_ref key)
{
	if (yaml_tree_kind(r->t, key) == YAML_KIND_TEXT)
		return yaml_tree_text(r->t, key);
	READ_ERROR(r, key, "a key must be a single word, not %s",
		   yaml_kind_name(yaml_tree_kind(r->t, key)));
	return SPAN_NONE;
}

bool
read_row(struct reader *r, yaml_ref n, struct row_key *keys, uint32_t count)
{
	struct seen seen = {0};
	bool ok = true;

	CHECK(count > 0);
	CHECK(count <= SEEN_MAX);
	if (yaml_tree_kind(r->t, n) != YAML_KIND_MAP) {
		READ_ERROR(r, n, "%s: needs a mapping with \"%s\" and so on, not %s", r->path,
			   keys[0].name, yaml_kind_name(yaml_tree_kind(r->t, n)));
		return false;
	}
	for (uint32_t i = 0; i < yaml_tree_count(r->t, n); i++) {
		yaml_ref key = yaml_tree_key(r->t, n, i);
		struct span name = key_text(r, key);
		struct nearest near;
		uint32_t k = 0;
		nearest_init(&near, name);
		for (; k < count && !span_eq(name, span_str(keys[k].name)); k++)
			nearest_offer(&near, keys[k].name);
		if (k < count) {
			if (seen_add(r, &seen, key))
				keys[k].value = yaml_tree_value(r->t, n, i);
			else
				ok = false;
		} else {
			char mem[96];
			struct strbuf hint;
			strbuf_init(&hint, mem, sizeof(mem));
			if (name.p != NULL)
				READ_ERROR(r, key, "%s: unknown key \"%.*s\"%s", r->path,
					   QUOTED_KEY(name),
					   span_find(name, '=') >= 0
						   ? "; a text with a comma needs quotes here"
						   : nearest_hint(&near, &hint));
			ok = false;
		}
	}
	for (uint32_t k = 0; k < count; k++) {
		if (keys[k].is_required && keys[k].value == YAML_REF_NONE) {
			READ_ERROR(r, n, "%s: \"%s\" is missing", r->path, keys[k].name);
			ok = false;
		}
	}
	return ok;
}

bool
read_items(struct reader *r, yaml_ref n, read_fn item)
{
	CHECK(item != NULL);
	if (yaml_tree_kind(r->t, n) != YAML_KIND_LIST) {
		if (yaml_tree_is_null(r->t, n))
			READ_ERROR(r, n, "%s: has no value; write [] for an empty list", r->path);
		else
			READ_ERROR(r, n, "%s: needs a list, not %s", r->path,
				   yaml_kind_name(yaml_tree_kind(r->t, n)));
		return false;
	}
	r->full = false;
	for (uint32_t i = 0; i < yaml_tree_count(r->t, n) && !r->full && !reader_gives_up(r); i++)
		item(r, yaml_tree_item(r->t, n, i));
	return true;
}

// A key that is no option here, but perhaps one elsewhere.
static void
report_unknown(struct reader *r, yaml_ref key, const char *section)
{
	struct span name = yaml_tree_text(r->t, key);
	const char *home = NULL;
	struct nearest near;
	struct strbuf hint;
	char mem[128];

	if (r->d->count >= DIAG_MAX) { // nobody will read the hint
		READ_ERROR(r, key, "unknown key");
		return;
	}
	nearest_init(&near, name);
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *s = schema_setting(i);
		if (strcmp(s->section, section) == 0)
			nearest_offer(&near, s->key);
		else if (span_eq(name, span_str(s->key)))
			home = s->section;
	}
	for (uint32_t i = 0; i < config_list_key_count; i++) {
		const struct list_key *l = &config_list_keys[i];
		if (strcmp(l->section, section) == 0)
			nearest_offer(&near, l->key);
		else if (span_eq(name, span_str(l->key)))
			home = l->section;
	}
	strbuf_init(&hint, mem, sizeof(mem));
	if (home != NULL && home[0] != '\0')
		strbuf_addf(&hint, "; it belongs to \"%s\"", home);
	else if (home != NULL)
		strbuf_add_str(&hint, "; it belongs to the file itself, not into a section");
	else
		nearest_hint(&near, &hint);
	READ_ERROR(r, key, "unknown key \"%.*s\" in \"%s\"%s", QUOTED_KEY(name), section, mem);
}

static void
read_pair(struct reader *r, struct seen *seen, const char *section, yaml_ref key, yaml_ref value)
{
	struct span name = key_text(r, key);
	enum setting_id id;

	if (name.p == NULL)
		return;
	if (schema_find(span_str(section), name, &id)) {
		reader_path(r, section, schema_setting(id)->key);
		if (seen_add(r, seen, key))
			read_option(r, value, id);
		return;
	}
	for (uint32_t i = 0; i < config_list_key_count; i++) {
		const struct list_key *l = &config_list_keys[i];
		if (strcmp(l->section, section) != 0 || !span_eq(name, span_str(l->key)))
			continue;
		reader_path(r, section, l->key);
		if (seen_add(r, seen, key))
			l->read(r, value);
		return;
	}
	report_unknown(r, key, section);
}

static void
read_section(struct reader *r, yaml_ref n, const char *section)
{
	struct seen seen = {0};

	if (yaml_tree_is_null(r->t, n)) // all of its lines are comments
		return;
	if (yaml_tree_kind(r->t, n) != YAML_KIND_MAP) {
		READ_ERROR(r, n, "%s: needs a mapping, not %s", section,
			   yaml_kind_name(yaml_tree_kind(r->t, n)));
		return;
	}
	for (uint32_t i = 0; i < yaml_tree_count(r->t, n) && !reader_gives_up(r); i++)
		read_pair(r, &seen, section, yaml_tree_key(r->t, n, i),
			  yaml_tree_value(r->t, n, i));
}

// The name of a section as a constant; NULL: there is none such. Offers all of them to `near`.
static const char *
section_find(struct span name, struct nearest *near)
{
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		const char *s = schema_setting(i)->section;
		if (span_eq(name, span_str(s)))
			return s;
		nearest_offer(near, s);
	}
	for (uint32_t i = 0; i < config_list_key_count; i++) {
		const char *s = config_list_keys[i].section;
		if (s[0] != '\0' && span_eq(name, span_str(s)))
			return s;
		nearest_offer(near, s[0] != '\0' ? s : config_list_keys[i].key);
	}
	return NULL;
}

static void
read_top(struct reader *r, struct seen *seen, yaml_ref key, yaml_ref value)
{
	struct span name = key_text(r, key);
	struct nearest near;
	struct strbuf hint;
	char mem[96];

	if (name.p == NULL)
		return;
	for (uint32_t i = 0; i < config_list_key_count; i++) {
		const struct list_key *l = &config_list_keys[i];
		if (l->section[0] != '\0' || !span_eq(name, span_str(l->key)))
			continue;
		reader_path(r, "", l->key);
		if (seen_add(r, seen, key))
			l->read(r, value);
		return;
	}
	nearest_init(&near, r->d->count < DIAG_MAX ? name : SPAN_NONE); // nobody will read the hint
	const char *section = section_find(name, &near);
	if (section == NULL) {
		strbuf_init(&hint, mem, sizeof(mem));
		READ_ERROR(r, key, "unknown section \"%.*s\"%s", QUOTED_KEY(name),
			   nearest_hint(&near, &hint));
		return;
	}
	if (strcmp(section, "machine") == 0)
		r->machine = yaml_tree_place(r->t, key);
	if (seen_add(r, seen, key))
		read_section(r, value, section);
}

bool
read_root(struct reader *r, yaml_ref n)
{
	struct seen seen = {0};

	CHECK(r->c != NULL);
	if (n == YAML_REF_NONE || yaml_tree_kind(r->t, n) != YAML_KIND_MAP) {
		diag_error(r->d, 1, 1, "the file must be a mapping of sections");
		return false;
	}
	for (uint32_t i = 0; i < yaml_tree_count(r->t, n) && !reader_gives_up(r); i++)
		read_top(r, &seen, yaml_tree_key(r->t, n, i), yaml_tree_value(r->t, n, i));
	return true;
}
