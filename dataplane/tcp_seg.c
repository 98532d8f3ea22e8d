// SPDX-License-Identifier: Apache-2.0
// tcp_seg: reads a TCP header and its options (RFC 9293 3.1, RFC 7323, RFC 2018), and writes the
// segments of those that have no connection. Reading is pure and total over any bytes. An option
// whose length cannot be right makes the segment bad: what follows it cannot be found. Runs on the
// owning worker.
#include "dataplane/tcp_conn.h"

#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_WSCALE 3
#define OPT_SACK_OK 4
#define OPT_SACK 5
#define OPT_TS 8

static void
seg_option(struct tcp_seg *s, const uint8_t *p, uint32_t len)
{
	switch (p[0]) {
	case OPT_MSS:
		if (len == 4) {
			s->mss = load_be16(p + 2);
			s->opts |= TCP_OPT_MSS;
		}
		break;
	case OPT_WSCALE:
		if (len == 3) {
			s->wscale = p[2];
			s->opts |= TCP_OPT_WSCALE;
		}
		break;
	case OPT_SACK_OK:
		if (len == 2)
			s->opts |= TCP_OPT_SACK_OK;
		break;
	case OPT_TS:
		if (len == 10) {
			s->tsval = load_be32(p + 2);
			s->tsecr = load_be32(p + 6);
			s->opts |= TCP_OPT_TS;
		}
		break;
	case OPT_SACK:
		if (len < 10 || (len - 2) % 8 != 0)
			break;
		s->sack_count = 0;
		for (uint32_t i = 2; i < len && s->sack_count < TCP_SACK_BLOCKS_MAX; i += 8) {
			s->sack[s->sack_count].start = load_be32(p + i);
			s->sack[s->sack_count].end = load_be32(p + i + 4);
			s->sack_count++;
		}
		break;
	default:
		break;
	}
}

static bool
seg_options(struct tcp_seg *s, const uint8_t *p, uint32_t n)
{
	// What nearly every segment has: NOP NOP TIMESTAMPS.
	if (n == 12 && load_be32(p) == (OPT_NOP << 24 | OPT_NOP << 16 | OPT_TS << 8 | 10)) {
		s->tsval = load_be32(p + 4);
		s->tsecr = load_be32(p + 8);
		s->opts = TCP_OPT_TS;
		return true;
	}
	for (uint32_t i = 0; i < n;) { // at most 40 turns
		if (p[i] == OPT_END)
			return true;
		if (p[i] == OPT_NOP) {
			i++;
			continue;
		}
		if (n - i < 2)
			return false;
		uint32_t len = p[i + 1];

		if (len < 2 || len > n - i)
			return false;
		seg_option(s, p + i, len);
		i += len;
	}
	return true;
}

bool
tcp_seg_parse(struct tcp_seg *s, struct span raw)
{
	if (raw.n < TCP_HEADER_MIN)
		return false;
	CHECK(raw.p != NULL);
	uint32_t header = (uint32_t)(raw.p[12] >> 4) * 4;

	if (header < TCP_HEADER_MIN || header > raw.n)
		return false;
	s->seq = load_be32(raw.p + 4);
	s->ack = load_be32(raw.p + 8);
	s->flags = raw.p[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK);
	s->wnd = load_be16(raw.p + 14);
	s->opts = 0;
	s->sack_count = 0;
	s->mss = 0;
	s->wscale = 0;
	s->tsval = 0;
	s->tsecr = 0;
	s->data = (struct span){raw.p + header, raw.n - header};
	if ((s->flags & TCP_SYN) && (s->flags & (TCP_FIN | TCP_RST)))
		return false;
	return header == TCP_HEADER_MIN ||
	       seg_options(s, raw.p + TCP_HEADER_MIN, header - TCP_HEADER_MIN);
}

bool
tcp_seg_send(struct tcp *t, const struct tcp_path *path, const struct tcp_bare *b)
{
	bool is_syn = b->flags & TCP_SYN, has_ts = b->opts & TCP_OPT_TS;
	bool has_sack = is_syn && (b->opts & TCP_OPT_SACK_OK);
	bool has_wscale = is_syn && (b->opts & TCP_OPT_WSCALE);
	uint32_t size = TCP_HEADER_MIN + (is_syn ? 4 : 0) + (has_wscale ? 4 : 0) +
			(has_ts     ? 12
			 : has_sack ? 4
				    : 0);
	uint8_t *p = t->net->seg_get(t->net_ctx, path, size);

	if (p == NULL)
		return false;
	store_be16(p, path->lport);
	store_be16(p + 2, path->rport);
	store_be32(p + 4, b->seq);
	store_be32(p + 8, b->ack);
	p[12] = (uint8_t)(size / 4 << 4);
	p[13] = b->flags;
	store_be16(p + 14, b->wnd);
	store_be32(p + 16, 0); // checksum: seg_put; urgent pointer
	uint8_t *o = p + TCP_HEADER_MIN;

	if (is_syn) {
		store_be32(o, OPT_MSS << 24 | 4u << 16 | b->mss);
		o += 4;
	}
	if (has_ts) {
		store_be32(o, has_sack ? OPT_SACK_OK << 24 | 2u << 16 | OPT_TS << 8 | 10u
				       : OPT_NOP << 24 | OPT_NOP << 16 | OPT_TS << 8 | 10u);
		store_be32(o + 4, b->tsval);
		store_be32(o + 8, b->tsecr);
		o += 12;
	} else if (has_sack) {
		store_be32(o, OPT_NOP << 24 | OPT_NOP << 16 | OPT_SACK_OK << 8 | 2u);
		o += 4;
	}
	if (has_wscale)
		store_be32(o, OPT_NOP << 24 | OPT_WSCALE << 16 | 3u << 8 | b->wscale);
	t->net->seg_put(t->net_ctx, path, size);
	COUNT(t->counters, TCP_OUT);
	return true;
}
