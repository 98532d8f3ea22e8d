// SPDX-License-Identifier: Apache-2.0
// yaml: two passes of libyaml over a text. The first looks at the events, where anchors, tags and
// nesting can still be seen, and refuses what the second must never meet; the second loads the
// document.
#include "control/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "control/config.h"

struct yaml_tree {
	yaml_document_t doc;
};

struct survey {
	struct diag_list *d;
	uint32_t depth, nodes, documents;
	bool stop; // what follows would only be noise, or costs too much
};

static struct yaml_place
place_of(yaml_mark_t m)
{
	return (struct yaml_place){(uint32_t)m.line + 1, (uint32_t)m.column + 1};
}

// libyaml gives the place of a byte that is no text as an offset only.
static struct yaml_place
place_of_byte(struct span text, size_t offset)
{
	struct yaml_place at = {1, 1};

	for (size_t i = 0; i < offset && i < text.n; i++) {
		if (text.p[i] == '\n')
			at = (struct yaml_place){at.line + 1, 1};
		else if ((text.p[i] & 0xc0) != 0x80) // columns are characters, as everywhere
			at.column++;
	}
	return at;
}

// The usual cause of what libyaml says about values: a text that would have needed quotes.
static const char *
quotes_hint(const yaml_parser_t *p)
{
	bool is_value =
		strstr(p->problem != NULL ? p->problem : "", "mapping values") != NULL ||
		strstr(p->problem != NULL ? p->problem : "", "did not find expected") != NULL;

	return is_value ? "; quote a text that begins with * or :, or holds \": \"" : "";
}

static void
report_syntax(const yaml_parser_t *p, struct span text, struct diag_list *d)
{
	const char *problem = p->problem != NULL ? p->problem : "not YAML";
	struct yaml_place at = place_of(p->problem_mark);
	size_t byte = p->problem_mark.index; // of characters: right when all before it is ASCII

	if (p->error == YAML_MEMORY_ERROR) {
		diag_error(d, 0, 0, "no memory");
	} else if (p->error == YAML_READER_ERROR) {
		at = place_of_byte(text, p->problem_offset);
		diag_error(d, at.line, at.column, "YAML: %s", problem);
	} else if (byte < text.n && text.p[byte] == '\t') {
		diag_error(d, at.line, at.column, "YAML: a tab; indent with spaces");
	} else if (p->context != NULL) {
		diag_error(d, at.line, at.column, "YAML: %s, %s (begun in line %u)%s", problem,
			   p->context, place_of(p->context_mark).line, quotes_hint(p));
	} else {
		diag_error(d, at.line, at.column, "YAML: %s%s", problem, quotes_hint(p));
	}
}

static void
survey_refuse(struct survey *s, const yaml_event_t *e, const char *text)
{
	struct yaml_place at = place_of(e->start_mark);

	diag_error(s->d, at.line, at.column, "%s", text);
}

static void
survey_node(struct survey *s, const yaml_event_t *e, const yaml_char_t *anchor,
	    const yaml_char_t *tag)
{
	if (anchor != NULL)
		survey_refuse(s, e, "anchors (&name) are not allowed in this file");
	if (tag != NULL)
		survey_refuse(s, e, "tags (!name) are not allowed in this file");
	if (++s->nodes > CONFIG_NODES_MAX) {
		survey_refuse(s, e, "too many values in this file");
		s->stop = true;
	}
}

static void
survey_deeper(struct survey *s, const yaml_event_t *e)
{
	if (++s->depth <= CONFIG_DEPTH_MAX)
		return;
	survey_refuse(s, e, "nested too deeply");
	s->stop = true;
}

static void
survey_event(struct survey *s, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++s->documents > 1) {
			survey_refuse(s, e, "a second document begins here; one is allowed");
			s->stop = true;
		}
		return;
	case YAML_ALIAS_EVENT:
		survey_refuse(s, e,
			      "aliases (*name) are not allowed in this file; quote a text that "
			      "begins with *");
		return;
	case YAML_SCALAR_EVENT:
		survey_node(s, e, e->data.scalar.anchor, e->data.scalar.tag);
		return;
	case YAML_SEQUENCE_START_EVENT:
		survey_node(s, e, e->data.sequence_start.anchor, e->data.sequence_start.tag);
		survey_deeper(s, e);
		return;
	case YAML_MAPPING_START_EVENT:
		survey_node(s, e, e->data.mapping_start.anchor, e->data.mapping_start.tag);
		survey_deeper(s, e);
		return;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		CHECK(s->depth > 0);
		s->depth--;
		return;
	case YAML_STREAM_END_EVENT:
		s->stop = true;
		return;
	default:
		return;
	}
}

// False: something was wrong, and has been said.
static bool
survey_text(const char *text, size_t size, struct diag_list *d)
{
	struct survey s = {.d = d};
	uint32_t errors = d->errors;
	yaml_parser_t p;

	if (!yaml_parser_initialize(&p)) {
		diag_error(d, 0, 0, "no memory");
		return false;
	}
	yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
	while (!s.stop) { // each turn consumes input, which is bounded
		yaml_event_t e;
		if (!yaml_parser_parse(&p, &e)) {
			report_syntax(&p, span_of(text, size), d);
			break;
		}
		survey_event(&s, &e);
		yaml_event_delete(&e);
	}
	yaml_parser_delete(&p);
	if (d->errors == errors && s.documents == 0)
		diag_error(d, 1, 1, "the file is empty");
	return d->errors == errors;
}

struct yaml_tree *
yaml_tree_open(const char *text, size_t size, struct diag_list *d)
{
	struct yaml_tree *t = NULL;
	yaml_parser_t p;

	CHECK(text != NULL);
	CHECK(d != NULL);
	if (!survey_text(text, size, d))
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL || !yaml_parser_initialize(&p)) {
		free(t);
		diag_error(d, 0, 0, "no memory");
		return NULL;
	}
	yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
	if (!yaml_parser_load(&p, &t->doc)) {
		report_syntax(&p, span_of(text, size), d);
		free(t);
		t = NULL;
	}
	yaml_parser_delete(&p);
	return t;
}

void
yaml_tree_close(struct yaml_tree **t)
{
	CHECK(t != NULL);
	if (*t == NULL)
		return;
	yaml_document_delete(&(*t)->doc);
	free(*t);
	*t = NULL;
}

static const yaml_node_t *
node_at(const struct yaml_tree *t, yaml_ref n)
{
	CHECK(t != NULL);
	CHECK(n > 0);
	CHECK(n <= t->doc.nodes.top - t->doc.nodes.start);
	return &t->doc.nodes.start[n - 1];
}

yaml_ref
yaml_tree_root(const struct yaml_tree *t)
{
	CHECK(t != NULL);
	return t->doc.nodes.top > t->doc.nodes.start ? 1 : YAML_REF_NONE;
}

enum yaml_kind
yaml_tree_kind(const struct yaml_tree *t, yaml_ref n)
{
	switch (node_at(t, n)->type) {
	case YAML_SEQUENCE_NODE:
		return YAML_KIND_LIST;
	case YAML_MAPPING_NODE:
		return YAML_KIND_MAP;
	default:
		return YAML_KIND_TEXT;
	}
}

const char *
yaml_kind_name(enum yaml_kind k)
{
	static const char *const name[] = {"a value", "a list", "a mapping"};

	CHECK((uint32_t)k < ARRAY_LEN(name));
	return name[k];
}

struct yaml_place
yaml_tree_place(const struct yaml_tree *t, yaml_ref n)
{
	return place_of(node_at(t, n)->start_mark);
}

struct span
yaml_tree_text(const struct yaml_tree *t, yaml_ref n)
{
	const yaml_node_t *node = node_at(t, n);

	CHECK(node->type == YAML_SCALAR_NODE);
	return span_of(node->data.scalar.value, node->data.scalar.length);
}

bool
yaml_tree_is_null(const struct yaml_tree *t, yaml_ref n)
{
	const yaml_node_t *node = node_at(t, n);

	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	struct span s = yaml_tree_text(t, n);
	return s.n == 0 || span_eq(s, SPAN_LIT("~")) || span_eq_nocase(s, SPAN_LIT("null"));
}

uint32_t
yaml_tree_count(const struct yaml_tree *t, yaml_ref n)
{
	const yaml_node_t *node = node_at(t, n);

	if (node->type == YAML_SEQUENCE_NODE)
		return (uint32_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (node->type == YAML_MAPPING_NODE)
		return (uint32_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
	return 0;
}

yaml_ref
yaml_tree_item(const struct yaml_tree *t, yaml_ref n, uint32_t i)
{
	const yaml_node_t *node = node_at(t, n);

	CHECK(node->type == YAML_SEQUENCE_NODE);
	CHECK(i < yaml_tree_count(t, n));
	return node->data.sequence.items.start[i];
}

yaml_ref
yaml_tree_key(const struct yaml_tree *t, yaml_ref n, uint32_t i)
{
	const yaml_node_t *node = node_at(t, n);

	CHECK(node->type == YAML_MAPPING_NODE);
	CHECK(i < yaml_tree_count(t, n));
	return node->data.mapping.pairs.start[i].key;
}

yaml_ref
yaml_tree_value(const struct yaml_tree *t, yaml_ref n, uint32_t i)
{
	const yaml_node_t *node = node_at(t, n);

	CHECK(node->type == YAML_MAPPING_NODE);
	CHECK(i < yaml_tree_count(t, n));
	return node->data.mapping.pairs.start[i].value;
}
