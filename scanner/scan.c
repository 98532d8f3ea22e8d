// SPDX-License-Identifier: Apache-2.0
// scan: see scan.h and scan_in.h. Lines: header sections, bodies, delimiters, parts.
//
//              +-- blank line, multipart or leaf --> BODY_START <--> BODY
//              |                                         |  line begins with '-'
//   FIELD_START <--> FIELD                               v
//     ^  ^   |                                         DASHES
//     |  |   +-- '-', inside a multipart --------------> |  |
//     |  +------- blank line of message/rfc822           |  +--> no delimiter: back, as text
//     +------------- opening delimiter ------------------+-----> closing one: BODY_START (epilogue)
//
// A body's line end waits in `eol` until the next line is known to be no delimiter, since the line
// end before a delimiter belongs to the delimiter.
#include "scanner/scan.h"

#include <string.h>

#include "scanner/scan_in.h"

static const struct span eol_text[] = {SPAN_LIT(""), SPAN_LIT("\n"), SPAN_LIT("\r\n")};

// --- parts -----------------------------------------------------------------------------------

static void
part_head_begin(struct scan *s)
{
	uint32_t depth = s->stack.depth;

	s->part = (struct scan_part){.reading = READ_IDENTITY};
	// Parts of a digest are messages unless they say otherwise.
	if (depth > 0 && s->stack.frame[depth - 1].kind == MIME_MULTIPART)
		s->part.is_message = s->stack.frame[depth - 1].is_digest;
	s->field_active = false;
	s->field_len = 0;
	s->head_bytes = 0;
	s->head_over = false;
	s->state = STATE_FIELD_START;
}

static void
part_count(struct scan *s)
{
	s->result.part_count++;
	if (s->result.part_count > s->view->settings->scan_mime_parts_max)
		scan_cause(s, SCAN_CAUSE_LIMIT, "too many parts");
}

static bool
part_push(struct scan *s, enum mime_frame_kind kind)
{
	if (s->stack.depth < s->view->settings->scan_mime_depth_max &&
	    mime_push(&s->stack, kind, s->part.is_digest) == MIME_OK)
		return true;
	scan_cause(s, SCAN_CAUSE_LIMIT, "parts nested too deep");
	mime_pending_drop(&s->stack);
	return false;
}

static void
body_begin(struct scan *s, enum scan_reading reading)
{
	scan_text_begin(s, reading, s->part.is_wide);
	s->eol = 0;
	s->cr_held = false;
	s->state = STATE_BODY_START;
}

// The header section of a part has ended: what is its body?
static void
part_body_begin(struct scan *s)
{
	struct scan_part *p = &s->part;
	bool encoded = p->reading != READ_IDENTITY || p->encoding_odd;
	uint8_t reading = p->encoding_odd ? READ_ALL : p->reading;

	if ((p->is_multipart || p->is_message) && encoded) {
		// RFC 2045 6.4 forbids it, and some readers decode nevertheless.
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "encoded multipart or message");
		scan_sniff_end(s);
		s->sniff_text = true;
		if (reading != READ_BASE64 && reading != READ_QP)
			reading = READ_ALL;
	}
	if (p->is_multipart && part_push(s, MIME_MULTIPART)) {
		if (s->stack.guessing > 0 && s->stack.frame[s->stack.depth - 1].guess)
			scan_cause(s, SCAN_CAUSE_BROKEN, "multipart without boundary");
		body_begin(s, reading); // the preamble
		return;
	}
	mime_pending_drop(&s->stack);
	if (p->is_message && !encoded && part_push(s, MIME_MESSAGE)) {
		part_count(s);
		part_head_begin(s);
		return;
	}
	// Leaves that are no text are not decoded, unless somebody might take them for text.
	if (!p->is_text && p->type_count > 0 && s->result.causes == 0)
		reading = READ_NOTHING;
	body_begin(s, reading);
}

// --- header sections -------------------------------------------------------------------------

static void
field_end(struct scan *s)
{
	if (s->field_active)
		scan_field_finish(s);
	s->field_len = 0;
	s->field_cut = false;
}

static void
field_append(struct scan *s, struct span bytes)
{
	uint32_t room = MIME_FIELD_MAX - s->field_len, n = MIN(bytes.n, room);

	CHECK(s->field_len <= MIME_FIELD_MAX);
	if (s->head_over)
		return;
	if (n < bytes.n)
		s->field_cut = true;
	if (n > 0)
		memcpy(s->field + s->field_len, bytes.p, n);
	s->field_len = (uint16_t)(s->field_len + n);
}

// The blank line. True: it ended the message's own header section.
static bool
head_end(struct scan *s)
{
	bool top = s->is_top;

	field_end(s);
	s->is_top = false;
	part_body_begin(s);
	if (!top)
		return false;
	CHECK(!s->result.headers_done);
	s->result.headers_done = true;
	return true;
}

// The first byte of a header line, which is not a line end. The line before may go on here.
static void
line_begin(struct scan *s, uint8_t c)
{
	bool fold = c == ' ' || c == '\t';

	s->part.blank_line = fold;
	if (fold && s->field_active)
		return;
	field_end(s);
	// Looked at here only: within a line, how far we are depends on the cuts.
	if (s->head_bytes > s->view->settings->scan_header_bytes_max && !s->head_over) {
		s->head_over = true;
		scan_cause(s, SCAN_CAUSE_LIMIT, "header section too long");
	}
	if (fold && !s->head_over)
		scan_cause(s, SCAN_CAUSE_BROKEN, "header section begins with a continuation line");
	s->field_active = !s->head_over;
}

// Takes header bytes up to a line end; *ended: that was the blank line behind the message's header.
static uint32_t
head_feed(struct scan *s, struct span in, bool *ended)
{
	const uint8_t *lf;
	uint32_t n;

	*ended = false;
	if (s->state == STATE_FIELD_START) {
		uint8_t c = in.p[0];

		if (!s->cr_held && c == '\r') { // the blank line, or not: the next byte tells
			s->cr_held = true;
			return 1;
		}
		if (c == '\n') {
			scan_raw_add(s, eol_text[s->cr_held ? 2 : 1]);
			s->cr_held = false;
			*ended = head_end(s);
			return 1;
		}
		if (!s->cr_held && c == '-' && mime_is_watching(&s->stack)) {
			s->line_len = 0;
			s->line_cut = false;
			s->dashes_in_head = true;
			s->state = STATE_DASHES;
			return 0;
		}
		line_begin(s, s->cr_held ? '\r' : c);
		s->state = STATE_FIELD;
		if (s->cr_held)
			scan_raw_add(s, SPAN_LIT("\r"));
		s->cr_held = false;
	}
	lf = memchr(in.p, '\n', in.n);
	n = lf != NULL ? (uint32_t)(lf - in.p) : in.n;
	for (uint32_t i = 0; i < n && s->part.blank_line; i++)
		s->part.blank_line = in.p[i] == ' ' || in.p[i] == '\t' || in.p[i] == '\r';
	s->head_bytes += n;
	field_append(s, span_sub(in, 0, n));
	if (lf == NULL) {
		scan_raw_add(s, in);
		return n;
	}
	if (s->field_len > 0 && s->field[s->field_len - 1] == '\r')
		s->field_len--;
	scan_raw_add(s, span_sub(in, 0, n + 1));
	if (s->part.blank_line) // RFC 5322 takes it for part of the field, others for the end of
				// the header
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "header line of blanks");
	s->state = STATE_FIELD_START;
	return n + 1;
}

// --- delimiters ------------------------------------------------------------------------------

// The delimiter line itself is no part's text, but RAW sees it.
static void
delimiter_take(struct scan *s, const struct mime_delimiter *d)
{
	struct mime_frame *f;

	if (s->dashes_in_head) {
		field_end(s);
		scan_cause(s, SCAN_CAUSE_BROKEN, "delimiter inside a header section");
	} else {
		scan_text_end(s);
	}
	if (d->is_both)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "line that delimits two multiparts");
	if (mime_pop_to(&s->stack, (uint32_t)d->frame + 1))
		scan_cause(s, SCAN_CAUSE_BROKEN, "multipart without closing delimiter");
	f = &s->stack.frame[d->frame];
	if (f->is_closed)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "delimiter behind the closing one");
	s->part.is_wide = false;
	if (d->is_close) {
		f->is_closed = true;
		body_begin(s, READ_IDENTITY); // the epilogue
		return;
	}
	f->is_closed = false;
	part_count(s);
	if (s->result.part_count > s->view->settings->scan_mime_parts_max)
		body_begin(s, READ_IDENTITY);
	else
		part_head_begin(s);
}

// `line` was no delimiter: gives it back to where it came from, without a line end.
static void
dashes_release(struct scan *s)
{
	struct span line = span_of(s->line, s->line_len);

	CHECK(s->state == STATE_DASHES);
	if (!s->dashes_in_head) {
		scan_text_add(s, eol_text[s->eol]);
		s->eol = 0;
		if (line.n > 0 && line.p[line.n - 1] == '\r') {
			s->cr_held = true;
			line.n--;
		}
		scan_text_add(s, line);
		s->state = STATE_BODY;
		return;
	}
	line_begin(s, '-');
	s->state = STATE_FIELD;
	s->head_bytes += line.n;
	field_append(s, line);
	scan_raw_add(s, line);
}

// The line is complete, but for its LF.
static bool
dashes_check(struct scan *s)
{
	struct mime_delimiter d = mime_line_check(&s->stack, span_of(s->line, s->line_len));

	if (d.frame >= 0) {
		if (!s->dashes_in_head)
			scan_raw_add(s, eol_text[s->eol]);
		delimiter_take(s, &d);
		scan_raw_add(s, span_of(s->line, s->line_len));
		return true;
	}
	if (d.is_prefix)
		scan_cause(s, SCAN_CAUSE_AMBIGUOUS, "line that begins like a delimiter");
	return false;
}

static uint32_t
dashes_feed(struct scan *s, struct span in)
{
	uint32_t i;

	for (i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];

		if (c == '\n') {
			if (dashes_check(s)) {
				scan_raw_add(s, eol_text[1]);
				return i + 1;
			}
			break;
		}
		if (s->line_len == 1 && c != '-')
			break;
		if (s->line_len < MIME_LINE_MAX) {
			s->line[s->line_len++] = c;
			continue;
		}
		// Too long for a delimiter, unless it is padded with blanks: those need not be
		// kept.
		if (c != ' ' && c != '\t' && c != '\r') {
			struct mime_delimiter d =
				mime_line_check(&s->stack, span_of(s->line, s->line_len));

			if (d.frame >= 0 || d.is_prefix)
				scan_cause(s, SCAN_CAUSE_AMBIGUOUS,
					   "line that begins like a delimiter");
			break;
		}
		s->line_cut = true;
	}
	if (i < in.n)
		dashes_release(s);
	return i;
}

// --- bodies ----------------------------------------------------------------------------------

// Gives on the text of whole lines up to the next one that may be a delimiter.
static uint32_t
body_feed(struct scan *s, struct span in)
{
	uint32_t i = 0, end;

	if (!mime_is_watching(&s->stack)) { // nothing can end this body
		scan_text_add(s, in);
		return in.n;
	}
	if (s->cr_held && in.p[0] != '\n') {
		scan_text_add(s, SPAN_LIT("\r"));
		s->cr_held = false;
	}
	for (;;) {
		const uint8_t *lf = memchr(in.p + i, '\n', in.n - i);

		if (lf == NULL) {
			end = in.n;
			s->cr_held = in.p[end - 1] == '\r';
			scan_text_add(s, span_sub(in, 0, end - s->cr_held));
			return in.n;
		}
		i = (uint32_t)(lf - in.p) + 1;
		if (i == in.n || in.p[i] == '-')
			break;
		if (s->cr_held) { // the LF is the first byte
			CHECK(i == 1);
			scan_text_add(s, SPAN_LIT("\r"));
			s->cr_held = false;
		}
	}
	end = i - 1;
	s->eol = 1;
	if (end > 0 && in.p[end - 1] == '\r') {
		s->eol = 2;
		end--;
	} else if (s->cr_held) {
		CHECK(end == 0);
		s->eol = 2;
	}
	s->cr_held = false;
	scan_text_add(s, span_sub(in, 0, end));
	s->state = STATE_BODY_START;
	return i;
}

static uint32_t
body_start_feed(struct scan *s, struct span in)
{
	if (in.p[0] == '-' && mime_is_watching(&s->stack)) {
		s->line_len = 0;
		s->line_cut = false;
		s->dashes_in_head = false;
		s->state = STATE_DASHES;
		return 0;
	}
	scan_text_add(s, eol_text[s->eol]);
	s->eol = 0;
	s->state = STATE_BODY;
	return 0;
}

// --- the interface ---------------------------------------------------------------------------

struct scanner *
scanner_open(const struct scanner_args *args)
{
	struct scanner *sc;

	CHECK(args != NULL && args->mem != NULL && args->counters != NULL);
	CHECK(args->scans_max > 0);
	sc = mem_get(args->mem, sizeof(*sc), "scanner");
	if (sc == NULL)
		return NULL;
	sc->worker = args->worker;
	sc->counters = args->counters;
	sc->mem = args->mem;
	if (!pool_init(&sc->pool, args->mem, "scans", sizeof(struct scan), args->scans_max)) {
		mem_put(args->mem, sc, sizeof(*sc));
		return NULL;
	}
	sc->magic = SCANNER_MAGIC;
	return sc;
}

void
scanner_close(struct scanner **scp)
{
	struct scanner *sc = *scp;

	*scp = NULL;
	if (sc == NULL)
		return;
	OBJ_CHECK(sc, SCANNER_MAGIC);
	CHECK(sc->pool.used == 0);
	pool_fini(&sc->pool);
	sc->magic = 0;
	mem_put(sc->mem, sc, sizeof(*sc));
}

uint32_t
scanner_free_count(const struct scanner *sc)
{
	OBJ_CHECK(sc, SCANNER_MAGIC);
	return pool_free_count(&sc->pool);
}

// The findings are not cleared whole: 8 KB a message, of which few are ever used.
static void
result_init(struct scan_result *r)
{
	memset(r, 0, offsetof(struct scan_result, bad));
	r->name_count = 0;
	r->type_count = 0;
	for (uint32_t i = 0; i < SCAN_EVIDENCE_MAX; i++) {
		struct scan_finding *each[] = {&r->bad[i], &r->good[i], &r->name[i], &r->type[i]};

		for (size_t k = 0; k < ARRAY_LEN(each); k++) {
			each[k]->id = UINT32_MAX;
			each[k]->text[0] = '\0';
		}
	}
}

struct scan *
scan_open(struct scanner *sc, const struct policy_view *view, struct matcher *m)
{
	struct scan *s;

	OBJ_CHECK(sc, SCANNER_MAGIC);
	CHECK(view != NULL);
	s = pool_get(&sc->pool);
	if (s == NULL)
		return NULL;
	memset(s, 0, offsetof(struct scan, result));
	s->magic = SCAN_MAGIC;
	s->scanner = sc;
	s->view = view;
	s->matcher = m;
	s->lane[LANE_TEXT].buf = s->text_buf;
	s->lane[LANE_TEXT].size = sizeof(s->text_buf);
	s->lane[LANE_ALT].buf = s->alt_buf;
	s->lane[LANE_ALT].size = sizeof(s->alt_buf);
	s->lane[LANE_RAW].buf = s->raw_buf;
	s->lane[LANE_RAW].size = sizeof(s->raw_buf);
	result_init(&s->result);
	mime_stack_init(&s->stack);
	s->is_top = true;
	s->is_first_line = true;
	s->result.part_count = 1;
	part_head_begin(s);
	COUNT(sc->counters, SCANS);
	return s;
}

enum scan_step
scan_feed(struct scan *s, struct span bytes, uint32_t *taken)
{
	uint32_t at = 0;

	OBJ_CHECK(s, SCAN_MAGIC);
	CHECK(taken != NULL);
	CHECK(bytes.p != NULL || bytes.n == 0);
	while (at < bytes.n) {
		struct span in = span_from(bytes, at);
		bool ended = false;
		uint32_t n = 0;

		switch ((enum scan_state)s->state) {
		case STATE_FIELD_START:
		case STATE_FIELD:
			n = head_feed(s, in, &ended);
			break;
		case STATE_BODY_START:
			n = body_start_feed(s, in);
			break;
		case STATE_BODY:
			n = body_feed(s, in);
			break;
		case STATE_DASHES:
			n = dashes_feed(s, in);
			break;
		}
		CHECK(n <= in.n);
		at += n;
		if (ended) {
			s->result.bytes += at;
			*taken = at;
			return SCAN_HEADERS_END;
		}
	}
	s->result.bytes += at;
	*taken = at;
	return SCAN_MORE;
}

enum scan_step
scan_end(struct scan *s)
{
	bool top = s->is_top;

	OBJ_CHECK(s, SCAN_MAGIC);
	// A last line without line end.
	if (s->state == STATE_DASHES && !dashes_check(s))
		dashes_release(s);
	if (s->state == STATE_FIELD || s->state == STATE_FIELD_START) {
		field_end(s);
		if (!top)
			scan_cause(s, SCAN_CAUSE_BROKEN, "message ends inside a header section");
	} else {
		if (s->cr_held)
			scan_text_add(s, SPAN_LIT("\r"));
		scan_text_add(s, eol_text[s->eol]);
		s->eol = 0;
		scan_text_end(s);
	}
	if (mime_has_open_multipart(&s->stack))
		scan_cause(s, SCAN_CAUSE_BROKEN, "multipart without closing delimiter");
	scan_raw_end(s);
	s->is_top = false;
	s->result.headers_done = true;
	return top ? SCAN_HEADERS_END : SCAN_MORE;
}

const struct scan_result *
scan_result(const struct scan *s)
{
	OBJ_CHECK(s, SCAN_MAGIC);
	return &s->result;
}

void
scan_close(struct scan **sp)
{
	struct scan *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	OBJ_CHECK(s, SCAN_MAGIC);
	scan_streams_close(s);
	pool_put(&s->scanner->pool, s);
}
