// SPDX-License-Identifier: Apache-2.0
// scan_field: see scan_in.h. What one header field means: types, encodings, boundaries, names.
//
// A field that two readers could read differently is read in all the ways that we know, and the
// message is marked. So one Content-Type may give several boundaries, and one attachment many
// names.
#include <string.h>

#include "scanner/param.h"
#include "scanner/rfc2047.h"
#include "scanner/rfc5322.h"
#include "scanner/scan_in.h"

#define TYPE_SIZE 128
#define DUMB_MAX 8 // places in one field where a word is looked for without regard to syntax

struct field_params {
	struct scan *s;
	struct span value;
	bool sniffing; // not the part's own header: names and types only
	bool is_type;  // Content-Type
	uint32_t boundary_count, name_count;
	bool odd;
	struct param_join boundary, name, filename;
};

// What a name may be wrapped in.
static bool
is_wrap(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '"' || c == '\'' ||
	       c == '<' || c == '>' || c == '\0';
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span
trim(struct span v)
{
	while (v.n > 0 && is_blank(v.p[0]))
		v = span_from(v, 1);
	while (v.n > 0 && is_blank(v.p[v.n - 1]))
		v.n--;
	return v;
}

// --- findings --------------------------------------------------------------------------------

// Counts a finding unless it is among those kept.
static void
finding_add(struct scan_finding *list, uint32_t *count, uint32_t id, struct span text)
{
	struct scan_finding f;

	scan_finding_set(&f, id, text);
	for (uint32_t i = 0; i < MIN(*count, SCAN_EVIDENCE_MAX); i++)
		if (list[i].id == id && strcmp(list[i].text, f.text) == 0)
			return;
	if (*count < SCAN_EVIDENCE_MAX)
		list[*count] = f;
	(*count)++;
}

static void
type_test(struct scan *s, struct span type)
{
	const struct policy_type *row;

	if (type.n == 0)
		return;
	row = policy_type_find(s->view, type);
	if (row != NULL)
		finding_add(s->result.type, &s->result.type_count, (uint32_t)(row - s->view->types),
			    type);
}

struct name_match {
	struct scan *s;
	struct span name;
};

static bool
name_on_match(void *ctx, uint32_t id, uint64_t to)
{
	struct name_match *m = ctx;
	struct scan *s = m->s;

	(void)to;
	COUNT(s->scanner->counters, SCAN_MATCHES);
	if (id >= s->view->count[POLICY_NAMES]) {
		scan_cause(s, SCAN_CAUSE_ERROR, "pattern database and name list differ");
		return false;
	}
	finding_add(s->result.name, &s->result.name_count, id, m->name);
	return false;
}

static void
name_match(struct scan *s, struct span name)
{
	struct name_match m = {.s = s, .name = name};

	if (name.n == 0 || s->matcher == NULL)
		return;
	if (!s->names_open) {
		s->names_open = true;
		if (match_open(s->matcher, s->scanner->worker, MATCH_NAMES, &s->names) != MATCH_OK)
			scan_cause(s, SCAN_CAUSE_ERROR, "no memory for a match stream");
	}
	if (match_feed(s->names, name, name_on_match, &m) != MATCH_OK ||
	    match_reset(s->names, name_on_match, &m) != MATCH_OK)
		scan_cause(s, SCAN_CAUSE_ERROR, "the matcher failed");
}

// A name in UTF-16 that is ASCII at heart.
static void
name_match_narrow(struct scan *s, struct span name)
{
	uint8_t mem[SCAN_NAME_SIZE];
	uint32_t n = 0;

	for (uint32_t i = 0; i < name.n && n < sizeof(mem); i++)
		if (name.p[i] != 0)
			mem[n++] = name.p[i];
	name_match(s, span_of(mem, n));
}

// What a file system makes of a name: without quotes around it, without directories, ended by NUL,
// and without the stream that NTFS reads behind a ':'.
static void
name_match_all(struct scan *s, struct span name)
{
	struct span base;
	int64_t at;
	uint32_t i;

	while (name.n > 0 && is_wrap(name.p[0]))
		name = span_from(name, 1);
	while (name.n > 0 && is_wrap(name.p[name.n - 1]))
		name.n--;
	name_match(s, name);
	at = span_find(name, '\0');
	if (at >= 0) {
		name_match_narrow(s, name);
		name = span_sub(name, 0, (uint32_t)at);
		name_match(s, name);
	}
	for (i = name.n; i > 0 && name.p[i - 1] != '/' && name.p[i - 1] != '\\'; i--)
		;
	base = span_from(name, i);
	if (base.n < name.n)
		name_match(s, base);
	at = span_find(base, ':');
	if (at > 0)
		name_match(s, span_sub(base, 0, (uint32_t)at));
}

// One form of an attachment's name, and what it decodes to.
static void
name_test(struct scan *s, struct span name)
{
	uint8_t mem[MIME_FIELD_MAX], more[MIME_FIELD_MAX];
	uint32_t n, found;

	name = trim(name);
	if (name.n == 0)
		return;
	if (++s->name_count > s->view->settings->scan_names_max) {
		scan_cause(s, SCAN_CAUSE_LIMIT, "too many attachment names");
		return;
	}
	name = span_sub(name, 0, sizeof(mem));
	name_match_all(s, name);
	found = rfc2047_decode(name, mem, sizeof(mem), &n);
	if (found & RFC2047_WORD)
		name_match_all(s, span_of(mem, n));
	if (found & RFC2047_CHARSET)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "attachment name in a charset without ASCII");
	if (found & RFC2047_ODD)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "malformed encoded word in an attachment name");
	if (span_find(name, '%') >= 0) {
		n = decode_percent(name, more, sizeof(more));
		if (n != name.n)
			name_match_all(s, span_of(more, n));
	}
}

// --- parameters ------------------------------------------------------------------------------

static void
boundary_reading(struct scan *s, struct span b)
{
	uint8_t mem[MIME_FIELD_MAX];
	uint32_t n;

	if (b.n > MIME_BOUNDARY_MAX) {
		scan_cause(s, SCAN_CAUSE_LIMIT, "boundary too long");
		return;
	}
	if (mime_boundary_add(&s->stack, b) == MIME_FULL)
		scan_cause(s, SCAN_CAUSE_LIMIT, "too many boundaries");
	if (rfc2047_decode(b, mem, sizeof(mem), &n) & RFC2047_WORD) {
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "encoded boundary");
		if (mime_boundary_add(&s->stack, span_of(mem, n)) == MIME_FULL)
			scan_cause(s, SCAN_CAUSE_LIMIT, "too many boundaries");
	}
}

static void
param_boundary(struct field_params *f, const struct param *p)
{
	uint8_t mem[MIME_FIELD_MAX];
	uint32_t n;

	if (f->sniffing || !f->is_type)
		return;
	f->boundary_count++;
	if (p->odd != PARAM_ODD_NONE)
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "malformed boundary parameter");
	if (p->extended || p->section >= 0)
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "encoded or split boundary");
	for (uint32_t i = 0; i < p->count; i++)
		boundary_reading(f->s, p->reading[i]);
	if (p->section >= 0)
		param_join_add(&f->boundary, p);
	if (p->extended && p->reading[0].n <= sizeof(mem)) {
		n = param_extended_decode(p->reading[0], mem, sizeof(mem));
		boundary_reading(f->s, span_of(mem, n));
	}
}

static void
param_name(struct field_params *f, const struct param *p, struct param_join *join)
{
	uint8_t mem[MIME_FIELD_MAX];
	uint32_t n;

	f->name_count++;
	if (p->odd == PARAM_ODD_HARD)
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "malformed attachment name");
	if (p->section >= 0) {
		param_join_add(join, p);
		return;
	}
	for (uint32_t i = 0; i < p->count && (!p->extended || p->odd != PARAM_ODD_NONE); i++)
		name_test(f->s, p->reading[i]);
	if (p->extended && p->reading[0].n <= sizeof(mem)) {
		n = param_extended_decode(p->reading[0], mem, sizeof(mem));
		name_test(f->s, span_of(mem, n));
	}
}

static void
join_finish(struct field_params *f, const struct param_join *j, bool is_boundary)
{
	uint8_t mem[MIME_FIELD_MAX];
	uint32_t n;

	if (j->count == 0)
		return;
	if (j->is_full)
		scan_cause(f->s, SCAN_CAUSE_LIMIT, "too many parts of one parameter");
	for (int as_written = 0; as_written < 2; as_written++) {
		n = param_join_value(j, as_written, mem, sizeof(mem));
		if (is_boundary)
			boundary_reading(f->s, span_of(mem, n));
		else
			name_test(f->s, span_of(mem, n));
		if (!param_join_is_odd(j))
			return;
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS,
			   "parts of a parameter missing or out of order");
	}
	for (uint32_t i = 0; i < j->count && !is_boundary; i++) // readers that join nothing
		name_test(f->s, j->part[i].value);
}

// Looks for `word` followed by '=' anywhere, quotes and comments or not, as simple readers do.
static uint32_t
dumb_find(struct span v, struct span word, struct span *out, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i + word.n < v.n && count < max; i++) {
		uint32_t k = i + word.n;
		int64_t end;

		if (ascii_lower(v.p[i]) != word.p[0] ||
		    !span_eq_nocase(span_sub(v, i, word.n), word))
			continue;
		while (k < v.n &&
		       (is_blank(v.p[k]) || v.p[k] == '*' || (v.p[k] >= '0' && v.p[k] <= '9')))
			k++;
		if (k == v.n || v.p[k] != '=')
			continue;
		for (k++; k < v.n && is_blank(v.p[k]); k++)
			;
		if (k < v.n && v.p[k] == '"') {
			end = span_find(span_from(v, k + 1), '"');
			out[count++] =
				end < 0 ? span_from(v, k + 1) : span_sub(v, k + 1, (uint32_t)end);
			continue;
		}
		end = k;
		while (end < v.n && v.p[end] != ';' && v.p[end] != '"' && !is_blank(v.p[end]))
			end++;
		out[count++] = span_sub(v, k, (uint32_t)end - k);
		i = k;
	}
	return count;
}

static void
params_dumb(struct field_params *f)
{
	struct span found[DUMB_MAX];
	uint32_t n, before = mime_pending_count(&f->s->stack);

	if (!f->sniffing && f->is_type && f->s->part.is_multipart) {
		n = dumb_find(f->value, SPAN_LIT("boundary"), found, DUMB_MAX);
		for (uint32_t i = 0; i < n; i++)
			boundary_reading(f->s, found[i]);
		if (mime_pending_count(&f->s->stack) > MAX(before, 1))
			scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "more than one boundary");
	}
	n = dumb_find(f->value, SPAN_LIT("name"), found, DUMB_MAX);
	if (n == f->name_count && !f->odd)
		return;
	for (uint32_t i = 0; i < n; i++)
		name_test(f->s, found[i]);
}

static void
param_charset(struct field_params *f, const struct param *p)
{
	if (f->sniffing || !f->is_type || !rfc2047_charset_is_opaque(trim(p->reading[0])))
		return;
	f->s->part.is_wide = true;
	scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "charset without ASCII");
}

// All parameters behind a type or a disposition.
static void
params_read(struct field_params *f, struct span text)
{
	uint8_t mem[2 * MIME_FIELD_MAX];
	struct param_reader r;
	struct param p;
	uint32_t plain_names = 0;

	param_reader_init(&r, text, mem, sizeof(mem));
	while (param_next(&r, &p)) {
		bool is_name = span_eq_nocase(p.attr, SPAN_LIT("name"));
		bool is_filename = span_eq_nocase(p.attr, SPAN_LIT("filename"));

		if (is_name || is_filename) {
			plain_names += p.section < 0 && !p.extended && is_name == f->is_type;
			param_name(f, &p, is_name ? &f->name : &f->filename);
		} else if (span_eq_nocase(p.attr, SPAN_LIT("boundary"))) {
			param_boundary(f, &p);
		} else if (span_eq_nocase(p.attr, SPAN_LIT("charset"))) {
			param_charset(f, &p);
		}
		f->odd |= p.odd == PARAM_ODD_HARD;
	}
	f->odd |= r.is_odd;
	if (f->odd && !f->sniffing)
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "malformed parameters");
	if (plain_names > 1)
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "more than one attachment name");
	if (r.is_full)
		scan_cause(f->s, SCAN_CAUSE_LIMIT, "too many parameters");
	join_finish(f, &f->boundary, true);
	join_finish(f, &f->name, false);
	join_finish(f, &f->filename, false);
	if (f->boundary_count > 1)
		scan_cause(f->s, SCAN_CAUSE_AMBIGUOUS, "more than one boundary");
	params_dumb(f);
}

// --- the fields ------------------------------------------------------------------------------

static void
part_type_set(struct scan *s, struct span type)
{
	struct scan_part *p = &s->part;

	if (span_starts_nocase(type, SPAN_LIT("multipart/"))) {
		p->is_multipart = true;
		p->is_digest |= span_eq_nocase(type, SPAN_LIT("multipart/digest"));
	} else if (span_eq_nocase(type, SPAN_LIT("message/rfc822")) ||
		   span_eq_nocase(type, SPAN_LIT("message/global")) ||
		   span_eq_nocase(type, SPAN_LIT("message/news"))) {
		p->is_message = true;
	} else if (span_starts_nocase(type, SPAN_LIT("text/")) ||
		   span_starts_nocase(type, SPAN_LIT("message/"))) {
		p->is_text = true;
	}
}

// Reads "type/subtype" at the head of *v without blanks, quotes and comments into b; false: no '/'.
static bool
type_read(struct span *v, struct strbuf *b, bool *odd)
{
	bool no_comments = false, slash = false;

	*odd = param_skip_cfws(v, &no_comments);
	while (v->n > 0) {
		uint8_t c = v->p[0];

		if (c == ';' || c == ',')
			break;
		if (is_blank(c) || (c == '(' && !no_comments)) {
			struct span rest = *v;
			bool comment = param_skip_cfws(&rest, &no_comments);

			// Blanks are allowed around the '/'; behind the subtype they end it.
			if (slash && b->len > 0 && b->p[b->len - 1] != '/') {
				*v = rest;
				break;
			}
			*odd |= comment || (rest.n > 0 && rest.p[0] != ';');
			*v = rest;
			continue;
		}
		if (c == '"')
			*odd = true;
		else
			strbuf_add_char(b, (char)c);
		slash |= c == '/';
		*v = span_from(*v, 1);
	}
	*odd |= b->truncated || (v->n > 0 && v->p[0] != ';' && v->p[0] != '(');
	return slash;
}

static void
field_type(struct scan *s, struct span value, bool sniffing)
{
	struct field_params f = {.s = s, .value = value, .sniffing = sniffing, .is_type = true};
	char mem[TYPE_SIZE];
	struct strbuf b;
	bool odd, slash;
	struct span rest = value;
	int64_t semicolon = span_find(value, ';');
	struct span raw = trim(span_sub(value, 0, semicolon < 0 ? value.n : (uint32_t)semicolon));

	strbuf_init(&b, mem, sizeof(mem));
	slash = type_read(&rest, &b, &odd);
	type_test(s, strbuf_span(&b));
	if (!span_eq(raw, strbuf_span(&b)))
		type_test(s, raw);
	f.odd = odd;
	if (!sniffing) {
		s->part.type_count = (uint8_t)MIN(s->part.type_count + 1, 255);
		if (s->part.type_count > 1)
			scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "more than one Content-Type");
		else
			s->part.is_message = false; // in a digest it was the default
		if (!slash) {
			scan_cause(s, SCAN_CAUSE_BROKEN, "content type without a subtype");
			s->part.is_text = true;
		} else if (odd) {
			scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "malformed content type");
			s->part.is_text = true;
		}
		part_type_set(s, strbuf_span(&b));
	}
	if (rest.n > 0)
		params_read(&f, rest);
}

static void
field_disposition(struct scan *s, struct span value, bool sniffing)
{
	struct field_params f = {.s = s, .value = value, .sniffing = sniffing};
	int64_t semicolon = span_find(value, ';');
	struct span head = trim(span_sub(value, 0, semicolon < 0 ? value.n : (uint32_t)semicolon));

	if (!sniffing) {
		s->part.disposition_count = (uint8_t)MIN(s->part.disposition_count + 1, 255);
		if (s->part.disposition_count > 1)
			scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "more than one Content-Disposition");
	}
	// "attachment filename=x.exe": a ';' was forgotten. "filename=x.exe": the type was.
	for (uint32_t i = 0; i < head.n; i++)
		f.odd |= is_blank(head.p[i]) || head.p[i] == '=';
	if (f.odd)
		params_read(&f, value);
	else if (semicolon >= 0)
		params_read(&f, span_from(value, (uint32_t)semicolon));
}

static void
field_encoding(struct scan *s, struct span value)
{
	static const struct {
		struct span name;
		enum scan_reading reading;
	} table[] = {
		{SPAN_LIT("7bit"), READ_IDENTITY},       {SPAN_LIT("8bit"), READ_IDENTITY},
		{SPAN_LIT("binary"), READ_IDENTITY},     {SPAN_LIT("base64"), READ_BASE64},
		{SPAN_LIT("quoted-printable"), READ_QP},
	};
	struct scan_part *p = &s->part;
	uint8_t reading = READ_ALL;

	value = trim(value);
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (span_eq_nocase(value, table[i].name))
			reading = (uint8_t)table[i].reading;
	p->encoding_count = (uint8_t)MIN(p->encoding_count + 1, 255);
	if (reading == READ_ALL) {
		p->encoding_odd = true;
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "unknown content transfer encoding");
	} else if (p->encoding_count > 1) {
		p->encoding_odd |= reading != p->reading;
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "more than one Content-Transfer-Encoding");
	}
	p->reading = reading;
}

static void
field_from(struct scan *s, struct span value)
{
	struct scan_result *r = &s->result;
	struct rfc5322_from from;
	struct strbuf b;
	char mem[SCAN_ADDR_SIZE];

	r->header_from_count++;
	if (r->header_from_count > 1) {
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "more than one From");
		return;
	}
	strbuf_init(&b, mem, sizeof(mem));
	from = rfc5322_from_parse(value, &b);
	if (from.count == 0)
		scan_cause(s, SCAN_CAUSE_BROKEN, "From without an address");
	else if (from.count > 1 || from.odd || b.truncated)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "From names more than one address");
	for (uint32_t i = 0; i < b.len; i++) // control characters were never part of an address
		mem[i] = (uint8_t)mem[i] < ' ' || mem[i] == 0x7f ? '?' : mem[i];
	memcpy(r->header_from, mem, b.len + 1);
}

static void
field_subject(struct scan *s, struct span value)
{
	uint8_t mem[MIME_FIELD_MAX];
	uint32_t n, found;

	s->part.subject_count = (uint8_t)MIN(s->part.subject_count + 1, 255);
	if (s->part.subject_count > 1)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "more than one Subject");
	found = rfc2047_decode(trim(value), mem, sizeof(mem), &n);
	if (found & RFC2047_CHARSET)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "subject in a charset without ASCII");
	scan_text_alone(s, span_of(mem, n));
}

// `From ` lines of mailbox files are no fields, and no harm.
static bool
is_mailbox_line(const struct scan *s, struct span line)
{
	return s->is_top && s->is_first_line && span_starts_nocase(line, SPAN_LIT("From "));
}

void
scan_field_finish(struct scan *s)
{
	struct span line = span_of(s->field, s->field_len), value;
	enum rfc5322_field field;
	bool odd;

	CHECK(s->field_active);
	s->field_active = false;
	field = rfc5322_field_split(line, &value, &odd);
	if (field == FIELD_NONE && !is_mailbox_line(s, line))
		scan_cause(s, SCAN_CAUSE_BROKEN, "header line that is no field");
	s->is_first_line = false;
	if (field == FIELD_NONE || field == FIELD_OTHER)
		return;
	if (field == FIELD_RECEIVED) {
		s->result.received_count += s->is_top;
		return;
	}
	if (field == FIELD_FROM && !s->is_top)
		return;
	if (odd)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "malformed name of a header field");
	if (s->field_cut)
		scan_cause(s, SCAN_CAUSE_LIMIT, "header field too long");
	if (field == FIELD_FROM)
		field_from(s, value);
	else if (field == FIELD_SUBJECT)
		field_subject(s, value);
	else if (field == FIELD_CONTENT_TYPE)
		field_type(s, value, false);
	else if (field == FIELD_CONTENT_ENCODING)
		field_encoding(s, value);
	else
		field_disposition(s, value, false);
}

// --- the sniffer -----------------------------------------------------------------------------

// In a marked message nobody knows where headers are. So every line that looks like one that names
// an attachment is read like one.
void
scan_sniff_end(struct scan *s)
{
	struct span value;
	enum rfc5322_field field;
	bool odd;
	struct span line = span_of(s->sniff, s->sniff_len);

	CHECK(s->sniff_len <= SCAN_SNIFF_SIZE);
	s->sniff_len = 0;
	s->sniff_skip = false;
	s->sniff_fold = false;
	field = rfc5322_field_split(line, &value, &odd);
	if (field == FIELD_CONTENT_TYPE)
		field_type(s, value, true);
	else if (field == FIELD_CONTENT_DISPOSITION)
		field_disposition(s, value, true);
}

// sniff_fold: at the head of a line; what is kept may go on there. sniff_skip: inside one of no
// interest.
void
scan_sniff_add(struct scan *s, struct span bytes)
{
	while (bytes.n > 0) {
		int64_t lf = span_find(bytes, '\n');
		uint32_t n = lf < 0 ? bytes.n : (uint32_t)lf;
		uint32_t keep;

		if (s->sniff_fold || (s->sniff_len == 0 && !s->sniff_skip)) {
			bool folds = s->sniff_fold && (bytes.p[0] == ' ' || bytes.p[0] == '\t');

			if (!folds && s->sniff_len > 0)
				scan_sniff_end(s);
			s->sniff_fold = false;
			s->sniff_skip = !folds && ascii_lower(bytes.p[0]) != 'c';
		}
		keep = s->sniff_skip ? 0 : MIN(n, (uint32_t)SCAN_SNIFF_SIZE - s->sniff_len);
		if (keep > 0)
			memcpy(s->sniff + s->sniff_len, bytes.p, keep);
		s->sniff_len = (uint16_t)(s->sniff_len + keep);
		if (lf < 0)
			return;
		s->sniff_fold = s->sniff_len > 0;
		s->sniff_skip = false;
		bytes = span_from(bytes, n + 1);
	}
}
