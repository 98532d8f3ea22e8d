// SPDX-License-Identifier: Apache-2.0
// scan_text: see scan_in.h. Lanes: decoding, batching, matching, and what was found.
#include <string.h>

#include "scanner/scan_in.h"

void
scan_cause(struct scan *s, enum scan_cause cause, const char *text)
{
	struct counters *cs = s->scanner->counters;

	CHECK(text != NULL);
	if (s->result.causes & cause)
		return;
	s->result.causes |= cause;
	if (s->result.cause_text == NULL)
		s->result.cause_text = text;
	switch (cause) {
	case SCAN_CAUSE_LIMIT:
		COUNT(cs, SCAN_LIMIT);
		break;
	case SCAN_CAUSE_BROKEN:
		COUNT(cs, SCAN_BROKEN);
		break;
	case SCAN_CAUSE_AMBIGUOUS:
		COUNT(cs, SCAN_AMBIGUOUS);
		break;
	case SCAN_CAUSE_ERROR:
		COUNT(cs, SCAN_ERROR);
		return; // the structure is clear: no other reading to be scanned
	}
	s->raw_on = true;
}

void
scan_finding_set(struct scan_finding *f, uint32_t id, struct span text)
{
	uint32_t n = MIN(text.n, (uint32_t)SCAN_NAME_SIZE - 1);

	f->id = id;
	for (uint32_t i = 0; i < n; i++)
		f->text[i] = text.p[i] >= ' ' && text.p[i] <= '~' ? (char)text.p[i] : '?';
	f->text[n] = '\0';
}

// --- phrases ---------------------------------------------------------------------------------

// False: it was there before, or the set is full.
static bool
set_add(struct scan_set *set, uint32_t id)
{
	uint32_t at = (id * 0x9e3779b1u) & (SCAN_SET_SLOTS - 1);

	CHECK(set->used <= SCAN_COUNT_MAX);
	while (set->slot[at] != 0) { // ends: SCAN_COUNT_MAX < SCAN_SET_SLOTS
		if (set->slot[at] == id + 1)
			return false;
		at = (at + 1) & (SCAN_SET_SLOTS - 1);
	}
	if (set->used == SCAN_COUNT_MAX)
		return false;
	set->slot[at] = id + 1;
	set->used++;
	return true;
}

// Keeps the lowest ids in ascending order, so that the order of finding does not show.
static void
phrase_keep(struct scan_finding *list, uint32_t id)
{
	uint32_t i = 0;

	while (i < SCAN_EVIDENCE_MAX && list[i].id != UINT32_MAX && list[i].id < id)
		i++;
	if (i == SCAN_EVIDENCE_MAX || list[i].id == id)
		return;
	for (uint32_t k = SCAN_EVIDENCE_MAX - 1; k > i; k--)
		list[k].id = list[k - 1].id;
	list[i].id = id;
}

static bool
phrase_on_match(void *ctx, uint32_t id, uint64_t to)
{
	struct scan *s = ctx;
	struct scan_result *r = &s->result;

	(void)to;
	COUNT(s->scanner->counters, SCAN_MATCHES);
	// The database came through shared memory: its ids are input.
	if (id >= s->view->count[POLICY_PHRASES]) {
		scan_cause(s, SCAN_CAUSE_ERROR, "pattern database and phrase list differ");
		return false;
	}
	if (s->view->phrases[id].influence == INFLUENCE_GOOD_WORD) {
		r->good_count += set_add(&s->good_set, id);
		phrase_keep(r->good, id);
	} else {
		r->bad_count += set_add(&s->bad_set, id);
		phrase_keep(r->bad, id);
	}
	return false;
}

// --- lanes -----------------------------------------------------------------------------------

static void
lane_flush(struct scan *s, struct scan_lane *l)
{
	enum match_result r = MATCH_OK;

	CHECK(l->len <= l->size);
	if (l->len == 0)
		return;
	if (!l->is_open && s->matcher != NULL) {
		l->is_open = true;
		if (match_open(s->matcher, s->scanner->worker, MATCH_CONTENT, &l->stream) !=
		    MATCH_OK)
			scan_cause(s, SCAN_CAUSE_ERROR, "no memory for a match stream");
	}
	COUNT_N(s->scanner->counters, SCAN_BYTES, l->len);
	r = match_feed(l->stream, span_of(l->buf, l->len), phrase_on_match, s);
	if (r != MATCH_OK)
		scan_cause(s, SCAN_CAUSE_ERROR, "the matcher failed");
	l->len = 0;
	l->is_dirty = true;
}

static void
lane_begin(struct scan_lane *l, enum decode_kind kind, bool drop_nul)
{
	CHECK(l->len == 0);
	CHECK(!l->is_dirty);
	decode_init(&l->decode, kind);
	l->is_on = true;
	l->blank = false;
	l->drop_nul = drop_nul;
}

// New bytes [from, len) of the buffer are there.
static void
lane_grown(struct scan *s, struct scan_lane *l, uint32_t from)
{
	if (l == &s->lane[LANE_TEXT] ? s->sniff_text : l == &s->lane[LANE_RAW] && !s->sniff_text)
		scan_sniff_add(s, span_of(l->buf + from, l->len - from));
	if (l->drop_nul) {
		uint32_t n = from;

		for (uint32_t i = from; i < l->len; i++)
			if (l->buf[i] != 0)
				l->buf[n++] = l->buf[i];
		l->len = (uint16_t)n;
	}
	l->len = (uint16_t)(from + decode_fold(l->buf + from, l->len - from, &l->blank));
}

// Only TEXT alone speaks for the part; where all readings are tried, most of them must fail.
static void
lane_check_bad(struct scan *s, const struct scan_lane *l)
{
	if (!l->decode.bad || l != &s->lane[LANE_TEXT] || s->lane[LANE_ALT].is_on)
		return;
	scan_cause(s, SCAN_CAUSE_BROKEN,
		   l->decode.kind == DECODE_BASE64 ? "malformed base64"
						   : "malformed quoted-printable");
}

// Returns how many bytes were read when the decoder said that they are bad, else all.
static uint32_t
lane_add(struct scan *s, struct scan_lane *l, struct span bytes)
{
	uint32_t at = 0, bad_at = bytes.n;

	CHECK(l->is_on);
	while (at < bytes.n) {
		uint32_t from = l->len, taken = 0;
		bool was_bad = l->decode.bad;

		l->len = (uint16_t)(l->len + decode_feed(&l->decode, span_from(bytes, at), &taken,
							 l->buf + l->len, l->size - l->len));
		at += taken;
		if (l->len > from)
			lane_grown(s, l, from);
		if (l->decode.bad && !was_bad) {
			lane_check_bad(s, l);
			bad_at = at;
			continue;
		}
		// A decoder stops early only for want of room.
		if (at < bytes.n)
			lane_flush(s, l);
	}
	return bad_at;
}

static void
lane_end(struct scan *s, struct scan_lane *l)
{
	uint32_t from;

	if (!l->is_on)
		return;
	l->is_on = false;
	if (l->size - l->len < DECODE_END_MAX)
		lane_flush(s, l);
	from = l->len;
	l->len = (uint16_t)(l->len + decode_end(&l->decode, l->buf + l->len));
	if (l->len > from)
		lane_grown(s, l, from);
	lane_check_bad(s, l);
	lane_flush(s, l);
	if (l->is_dirty && match_reset(l->stream, phrase_on_match, s) != MATCH_OK)
		scan_cause(s, SCAN_CAUSE_ERROR, "the matcher failed");
	l->is_dirty = false;
}

void
scan_text_begin(struct scan *s, enum scan_reading reading, bool drop_nul)
{
	struct scan_lane *text = &s->lane[LANE_TEXT], *alt = &s->lane[LANE_ALT];

	CHECK(!text->is_on && !alt->is_on);
	switch (reading) {
	case READ_NOTHING:
		break;
	case READ_IDENTITY:
		lane_begin(text, DECODE_IDENTITY, drop_nul);
		break;
	case READ_BASE64:
		lane_begin(text, DECODE_BASE64, drop_nul);
		break;
	case READ_QP:
		lane_begin(text, DECODE_QP, drop_nul);
		break;
	case READ_ALL:
		CHECK(s->raw_on);
		lane_begin(text, DECODE_BASE64, drop_nul);
		lane_begin(alt, DECODE_QP, drop_nul);
		break;
	}
}

void
scan_raw_add(struct scan *s, struct span bytes)
{
	struct scan_lane *raw = &s->lane[LANE_RAW];

	if (!s->raw_on)
		return;
	if (!raw->is_on)
		lane_begin(raw, DECODE_IDENTITY, false);
	(void)lane_add(s, raw, bytes);
}

void
scan_text_add(struct scan *s, struct span bytes)
{
	bool was_on = s->raw_on;
	uint32_t raw_from = 0;

	if (bytes.n == 0)
		return;
	if (s->lane[LANE_TEXT].is_on) {
		uint32_t bad_at = lane_add(s, &s->lane[LANE_TEXT], bytes);

		if (!was_on && s->raw_on) // this is what turned it on: RAW begins right behind
			raw_from = bad_at;
	}
	if (s->lane[LANE_ALT].is_on)
		(void)lane_add(s, &s->lane[LANE_ALT], bytes);
	scan_raw_add(s, span_from(bytes, raw_from));
}

void
scan_text_alone(struct scan *s, struct span text)
{
	scan_text_begin(s, READ_IDENTITY, false);
	(void)lane_add(s, &s->lane[LANE_TEXT], text);
	lane_end(s, &s->lane[LANE_TEXT]);
}

void
scan_text_end(struct scan *s)
{
	lane_end(s, &s->lane[LANE_TEXT]);
	lane_end(s, &s->lane[LANE_ALT]);
	if (s->sniff_text)
		scan_sniff_end(s);
	s->sniff_text = false;
}

void
scan_raw_end(struct scan *s)
{
	lane_end(s, &s->lane[LANE_RAW]);
	if (s->raw_on)
		scan_sniff_end(s);
}

void
scan_streams_close(struct scan *s)
{
	for (uint32_t i = 0; i < LANE_COUNT; i++)
		match_close(&s->lane[i].stream);
	match_close(&s->names);
}
