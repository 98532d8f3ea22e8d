// SPDX-License-Identifier: Apache-2.0
// wirecheck: see the header. It keeps what each end has said so far and holds the other to it.
#include "test/sim/lib/wirecheck.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/base/bytes.h"
#include "test/sim/lib/framesum.h"

#define COOKIE_TS_STEP 512 // milliseconds that a cookie's timestamp may be behind
#define ETH_SIZE 14u
#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define SACKS_MAX 4u
#define RANGES_MAX 64u // of one end's SACK blocks, ever reported and still above its ACK

struct range {
	uint32_t start, end;
};

struct end { // what one end of a flow has sent
	bool has_syn, has_edge, has_ack, has_fin;
	bool has_ts, has_sack_ok, has_wscale; // in its SYN
	uint8_t wscale;
	uint16_t mss;
	uint32_t isn, max, fin; // max: the end of what was sent
	uint32_t edge, ack;     // right edge advertised, last acknowledgment
	uint32_t ts;
	struct range reported[RANGES_MAX];
	uint32_t reported_count;
};

struct wirecheck_flow {
	struct wirecheck_flow *next;
	struct tcp_path path; // as the end with the smaller address and port sees it
	bool is_reborn;       // used again: an end without a SYN still speaks of the old connection
	struct end end[2];
};

struct seg {
	uint32_t seq, ack, len, wnd, data;
	uint32_t tsval, tsecr;
	uint32_t header;
	uint8_t flags;
	bool has_ts, has_wscale, has_sack_ok, is_bad;
	uint8_t wscale;
	uint16_t mss;
	uint32_t sack_count;
	struct range sack[SACKS_MAX];
};

static int32_t
diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

void
wirecheck_init(struct wirecheck *w)
{
	*w = (struct wirecheck){.name = "wire"};
}

void
wirecheck_fini(struct wirecheck *w)
{
	for (uint32_t i = 0; i < WIRECHECK_BUCKETS; i++)
		while (w->bucket[i] != NULL) {
			struct wirecheck_flow *f = w->bucket[i];
			w->bucket[i] = f->next;
			free(f);
		}
}

// --- parsing ---

static void
parse_option(struct seg *s, const uint8_t *p, uint32_t kind, uint32_t size)
{
	if (kind == 2 && size == 4) {
		s->mss = load_be16(p + 2);
	} else if (kind == 3 && size == 3) {
		s->has_wscale = true;
		s->wscale = p[2];
		s->is_bad |= p[2] > 14;
	} else if (kind == 4 && size == 2) {
		s->has_sack_ok = true;
	} else if (kind == 8 && size == 10) {
		s->has_ts = true;
		s->tsval = load_be32(p + 2);
		s->tsecr = load_be32(p + 6);
	} else if (kind == 5 && size >= 10 && (size - 2) % 8 == 0 && size <= 34) {
		s->sack_count = (size - 2) / 8;
		for (uint32_t i = 0; i < s->sack_count; i++)
			s->sack[i] =
				(struct range){load_be32(p + 2 + 8 * i), load_be32(p + 6 + 8 * i)};
	} else {
		s->is_bad = true; // nothing else has a reason to be in our segments
	}
}

static bool
parse(struct seg *s, struct span raw)
{
	const uint8_t *p = raw.p;

	*s = (struct seg){0};
	if (raw.n < 20)
		return false;
	s->header = (uint32_t)(p[12] >> 4) * 4;
	if (s->header < 20 || s->header > raw.n)
		return false;
	s->seq = load_be32(p + 4);
	s->ack = load_be32(p + 8);
	s->flags = p[13];
	s->wnd = load_be16(p + 14);
	s->data = raw.n - s->header;
	s->len = s->data + !!(s->flags & FIN) + !!(s->flags & SYN);
	for (uint32_t i = 20; i < s->header;) {
		if (p[i] == 0)
			break;
		if (p[i] == 1) {
			i++;
			continue;
		}
		if (i + 1 >= s->header || p[i + 1] < 2 || i + p[i + 1] > s->header)
			return false;
		parse_option(s, p + i, p[i], p[i + 1]);
		i += p[i + 1];
	}
	return !s->is_bad;
}

// --- flows ---

static struct wirecheck_flow *
flow_of(struct wirecheck *w, const struct tcp_path *path, uint32_t *end)
{
	struct tcp_path key = *path;
	int order = memcmp(&path->laddr, &path->raddr, sizeof(path->laddr));
	uint32_t hash = 0;

	*end = order > 0 || (order == 0 && path->lport > path->rport);
	if (*end == 1)
		key = (struct tcp_path){.laddr = path->raddr,
					.raddr = path->laddr,
					.lport = path->rport,
					.rport = path->lport};
	key.side = 0;
	hash = (key.lport * 31u + key.rport) * 2654435761u >> 24;
	struct wirecheck_flow **bucket = &w->bucket[hash % WIRECHECK_BUCKETS];
	for (struct wirecheck_flow *f = *bucket; f != NULL; f = f->next)
		if (memcmp(&f->path, &key, sizeof(key)) == 0)
			return f;
	struct wirecheck_flow *f = calloc(1, sizeof(*f));
	CHECK(f != NULL);
	f->path = key;
	f->next = *bucket;
	*bucket = f;
	return f;
}

static void
fault(struct wirecheck *w, const char *what)
{
	if (w->fault == NULL)
		w->fault = what;
}

// --- the rules ---

static void
check_syn(struct wirecheck *w, struct wirecheck_flow *f, uint32_t end, const struct seg *s)
{
	struct end *e = &f->end[end];

	if (s->data > 0)
		fault(w, "data in a SYN");
	if (e->has_syn && e->isn == s->seq) {
		if (e->has_ts != s->has_ts && (s->flags & ACK) == 0)
			fault(w, "a SYN was sent again with other options");
		return;
	}
	if ((s->flags & ACK) == 0) { // a new connection
		f->is_reborn = e->has_syn;
		memset(f->end, 0, sizeof(f->end));
	} else {
		memset(e, 0, sizeof(*e));
	}
	e->has_syn = true;
	e->isn = e->max = s->seq;
	e->has_ts = s->has_ts;
	e->ts = s->tsval;
	e->has_sack_ok = s->has_sack_ok;
	e->has_wscale = s->has_wscale;
	e->wscale = s->wscale;
	bool is_v4 = ipaddr_is_v4(&f->path.laddr);
	e->mss = s->mss > 0 ? s->mss : is_v4 ? 536 : 1220;
}

static void
check_ack(struct wirecheck *w, struct wirecheck_flow *f, uint32_t end, const struct seg *s)
{
	struct end *e = &f->end[end];
	const struct end *o = &f->end[1 - end];
	bool is_syn = (s->flags & SYN) != 0;
	uint32_t shift = !is_syn && e->has_wscale && o->has_wscale ? e->wscale : 0;
	uint32_t edge = s->ack + (s->wnd << shift);

	if (o->has_syn && diff(s->ack, o->max) > 0)
		fault(w, "acknowledges what was not sent");
	if (!is_syn && e->has_ack && diff(s->ack, e->ack) < 0)
		fault(w, "acknowledgment taken back");
	if (!is_syn && e->has_edge && diff(edge, e->edge) <= -(1 << shift))
		fault(w, "window edge taken back");
	if (!e->has_edge || diff(edge, e->edge) > 0)
		e->edge = edge;
	e->has_edge = true;
	if (!is_syn) {
		e->ack = s->ack;
		e->has_ack = true;
	}
}

static void
check_data(struct wirecheck *w, struct wirecheck_flow *f, uint32_t end, const struct seg *s)
{
	struct end *e = &f->end[end];
	const struct end *o = &f->end[1 - end];
	uint32_t last = s->seq + s->len;
	int32_t beyond = s->len == 1 ? 1 : 0; // a probe, or a lone FIN

	if (!(s->flags & SYN) && o->has_edge && s->len > 0 && diff(last, o->edge) > beyond)
		fault(w, s->len == 1 ? "a probe beyond the first byte" : "bytes beyond the window");
	if (o->has_syn && s->data > 0 && s->data + s->header - 20 > o->mss)
		fault(w, "larger than the peer's MSS");
	if (s->flags & FIN) {
		if (e->has_fin && e->fin != last)
			fault(w, "the FIN has moved");
		e->has_fin = true;
		e->fin = last;
		if (diff(e->max, last) > 0)
			fault(w, "a FIN before what was sent");
	}
	if (e->has_fin && diff(last, e->fin) > 0)
		fault(w, "bytes behind the FIN");
	if (diff(s->seq, e->max) > 0)
		fault(w, "a gap before what is sent");
	if (diff(last, e->max) > 0)
		e->max = last;
}

static void
check_ts(struct wirecheck *w, struct wirecheck_flow *f, uint32_t end, const struct seg *s)
{
	struct end *e = &f->end[end];
	const struct end *o = &f->end[1 - end];
	bool is_on = e->has_ts && o->has_ts;

	if (!(s->flags & SYN) && o->has_syn && s->has_ts != is_on)
		fault(w,
		      is_on ? "a segment without timestamp" : "a timestamp that nobody asked for");
	if (!s->has_ts)
		return;
	// A SYN-ACK by cookie has options in the low bits, and a late copy of the SYN gets one when
	// the connection has been reset: nobody remembers what it sent.
	bool may_be_cookie = (s->flags & SYN) && (s->flags & ACK);
	if (diff(s->tsval, e->ts) < (may_be_cookie ? 1 - COOKIE_TS_STEP : 0))
		fault(w, "timestamps go back");
	if ((s->flags & ACK) && is_on && diff(s->tsecr, o->ts) > 0)
		fault(w, "echoes a timestamp that was not sent");
	e->ts = s->tsval;
}

static bool
is_reported(const struct end *e, const struct range *r)
{
	uint32_t from = r->start;
	bool is_moving = true;

	while (is_moving && diff(from, r->end) < 0) {
		is_moving = false;
		for (uint32_t i = 0; i < e->reported_count; i++) {
			const struct range *k = &e->reported[i];
			if (diff(k->start, from) <= 0 && diff(k->end, from) > 0) {
				from = k->end;
				is_moving = true;
			}
		}
	}
	return diff(from, r->end) >= 0;
}

static void
report(struct end *e, uint32_t ack, const struct range *r)
{
	uint32_t kept = 0;

	// What the new one covers, and what has been acknowledged, needs no place of its own.
	for (uint32_t i = 0; i < e->reported_count; i++) {
		struct range k = e->reported[i];
		bool is_inside = diff(k.start, r->start) >= 0 && diff(k.end, r->end) <= 0;
		if (!is_inside && diff(k.end, ack) > 0)
			e->reported[kept++] = k;
	}
	if (kept == RANGES_MAX)
		memmove(e->reported, e->reported + 1, --kept * sizeof(e->reported[0]));
	e->reported[kept++] = *r;
	e->reported_count = kept;
}

static void
check_sack(struct wirecheck *w, struct wirecheck_flow *f, uint32_t end, const struct seg *s)
{
	struct end *e = &f->end[end];
	const struct end *o = &f->end[1 - end];
	const struct range *b = s->sack;
	uint32_t first = 0;
	bool is_any_new = false;

	if (s->sack_count == 0)
		return;
	w->sacks++;
	if (!o->has_sack_ok || !e->has_sack_ok || !(s->flags & ACK))
		fault(w, "SACK without permission");
	// RFC 2883: the first block may tell of what came twice.
	if (diff(b[0].end, s->ack) <= 0 ||
	    (s->sack_count > 1 && diff(b[0].start, b[1].start) >= 0 &&
	     diff(b[0].end, b[1].end) <= 0))
		first = 1;
	for (uint32_t i = 0; i < s->sack_count; i++) {
		if (diff(b[i].start, b[i].end) >= 0)
			fault(w, "an empty SACK block");
		if (o->has_syn && diff(b[i].end, o->max) > 0)
			fault(w, "a SACK block beyond what was sent");
		if (i < first)
			continue;
		if (diff(b[i].start, s->ack) <= 0)
			fault(w, "a SACK block at or below the acknowledgment");
		for (uint32_t k = first; k < i; k++)
			if (diff(b[i].start, b[k].end) <= 0 && diff(b[k].start, b[i].end) <= 0)
				fault(w, "SACK blocks that touch");
		is_any_new |= !is_reported(e, &b[i]);
	}
	if (first == 0 && is_any_new && !w->is_short_of_frames && is_reported(e, &b[0]))
		fault(w, "the newest SACK block is not the first");
	for (uint32_t i = first; i < s->sack_count; i++)
		report(e, s->ack, &b[i]);
}

static void
describe(const struct wirecheck *w, const struct tcp_path *path, const struct seg *s,
	 uint64_t now_us, char text[WIRECHECK_TEXT_SIZE])
{
	struct strbuf b;

	strbuf_init(&b, text, WIRECHECK_TEXT_SIZE);
	strbuf_addf(&b, "%s %" PRIu64 ".%06" PRIu64 " ", w->name, now_us / 1000000,
		    now_us % 1000000);
	ipaddr_format(&b, &path->laddr);
	strbuf_addf(&b, " %u > %u %s%s%s%s seq %u+%u ack %u win %u ts %u/%u", path->lport,
		    path->rport, s->flags & SYN ? "S" : "", s->flags & FIN ? "F" : "",
		    s->flags & RST ? "R" : "", s->flags & ACK ? "." : "", s->seq, s->data, s->ack,
		    s->wnd, s->tsval, s->tsecr);
	for (uint32_t i = 0; i < s->sack_count; i++)
		strbuf_addf(&b, " %u-%u", s->sack[i].start, s->sack[i].end);
}

static void
check_segment(struct wirecheck *w, const struct tcp_path *path, const struct seg *s)
{
	uint32_t end;

	if (s->flags & RST) {
		w->resets++;
		return; // may be the answer to a segment of a connection that is over
	}
	struct wirecheck_flow *f = flow_of(w, path, &end);
	if (s->flags & SYN)
		check_syn(w, f, end, s);
	if (!f->end[end].has_syn) {
		if (!f->is_reborn)
			fault(w, "a segment before a SYN");
		return;
	}
	if (s->flags & ACK)
		check_ack(w, f, end, s);
	else if (!(s->flags & SYN))
		fault(w, "a segment without ACK");
	check_ts(w, f, end, s);
	check_data(w, f, end, s);
	check_sack(w, f, end, s);
}

void
wirecheck_segment(struct wirecheck *w, const struct tcp_path *path, struct span raw,
		  uint64_t now_us)
{
	struct seg s;
	char text[sizeof(w->text)];

	w->segments++;
	if (!parse(&s, raw))
		fault(w, "a header that cannot be read");
	check_segment(w, path, &s);
	bool is_new = w->fault != NULL && w->text[0] == '\0';
	if (!is_new && !w->is_tracing)
		return;
	describe(w, path, &s, now_us, text);
	if (w->is_tracing)
		printf("    %s%s\n", text, is_new ? " <<" : "");
	if (is_new)
		memcpy(w->text, text, sizeof(w->text));
}

// --- frames ---

static bool
sum_is_right(const uint8_t *ip, bool is_v6, struct span seg)
{
	uint64_t sum = framesum_add(seg.n + 6, is_v6 ? ip + 8 : ip + 12, is_v6 ? 32 : 8);

	return framesum_fold(framesum_add(sum, seg.p, seg.n)) == 0xffff;
}

void
wirecheck_frame(void *ctx, struct span frame, enum vnet_end from, uint64_t now_us)
{
	struct wirecheck *w = ctx;
	uint32_t at = ETH_SIZE;
	struct tcp_path path = {0};

	(void)from;
	if (frame.n < at + 20)
		return;
	uint16_t type = load_be16(frame.p + 12);
	if (type == 0x8100) {
		type = load_be16(frame.p + 16);
		at += 4;
	}
	struct span ip = span_from(frame, at), seg;
	bool is_v6 = type == 0x86dd;
	if (is_v6 && ip.n >= 40 && ip.p[6] == 6) {
		seg = span_sub(ip, 40, load_be16(ip.p + 4));
		memcpy(&path.laddr, ip.p + 8, 16);
		memcpy(&path.raddr, ip.p + 24, 16);
		if (ip.p[0] >> 4 != 6 || ip.p[7] == 0 || seg.n != load_be16(ip.p + 4))
			fault(w, "a bad IPv6 header");
	} else if (type == 0x0800 && ip.p[9] == 6) {
		uint32_t header = (ip.p[0] & 15u) * 4, size = load_be16(ip.p + 2);
		if (ip.p[0] >> 4 != 4 || header < 20 || size < header || size > ip.n ||
		    ip.p[8] == 0 || framesum_fold(framesum_add(0, ip.p, header)) != 0xffff) {
			fault(w, "a bad IPv4 header");
			return;
		}
		seg = span_sub(ip, header, size - header);
		path.laddr = ipaddr_v4(load_be32(ip.p + 12));
		path.raddr = ipaddr_v4(load_be32(ip.p + 16));
	} else {
		return;
	}
	if (frame.n > at + 1500)
		fault(w, "larger than Ethernet's MTU");
	if (seg.n < 20) {
		fault(w, "shorter than a TCP header");
		return;
	}
	if (!sum_is_right(ip.p, is_v6, seg))
		fault(w, "a wrong TCP checksum");
	path.lport = load_be16(seg.p);
	path.rport = load_be16(seg.p + 2);
	wirecheck_segment(w, &path, seg, now_us);
}
