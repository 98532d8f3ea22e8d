// SPDX-License-Identifier: Apache-2.0
// pkt_check: what holds for every segment of the appliance, whatever the script says: nothing
// beyond the peer's window, no window taken back, the same bytes each time that they are sent,
// timestamps and ACKs that never go back, options only as agreed on.
#include <stdlib.h>
#include <string.h>

#include "test/tcp/pkt.h"

#define AHEAD(a, b) ((int32_t)((a) - (b))) // how far a is ahead of b

static const char *
check_syn(struct pkt_conn *k, const struct pkt_seg *s)
{
	if (k->knows_irs && s->seq != k->irs)
		return "a second SYN with another sequence number";
	if (s->len > 0)
		return "bytes on a SYN";
	if ((s->flags & ACK) && (s->opts & ~k->offered & (OPT_WSCALE | OPT_SACK_OK | OPT_TS)))
		return "the SYN-ACK has an option that the SYN had not (RFC 7323 2.2, 3.2; 2018 2)";
	if (s->opts & OPT_WSCALE && s->wscale > 14)
		return "a shift above 14 (RFC 7323 2.3)";
	if (!k->knows_irs) {
		k->knows_irs = true;
		k->irs = k->base_in = s->seq;
		k->rcv_nxt = s->seq + 1;
		k->theirs = s->opts;
		k->their_wscale = s->wscale;
		k->has_ack = false;
		k->last_tsval = s->tsval;
	}
	k->theirs &= s->opts;      // what a repetition leaves out is gone
	k->has_their_edge = false; // its field is not scaled
	return NULL;
}

static const char *
check_options(struct pkt_conn *k, const struct pkt_seg *s)
{
	if (s->opts & (OPT_MSS | OPT_WSCALE | OPT_SACK_OK))
		return "an option that belongs on a SYN";
	if (!conn_has(k, OPT_TS) && (s->opts & OPT_TS))
		return "a timestamp that was not agreed on";
	if (conn_has(k, OPT_TS) && !(s->opts & OPT_TS))
		return "no timestamp, though agreed on (RFC 7323 3.2)";
	if ((s->opts & OPT_TS) && AHEAD(s->tsval, k->last_tsval) < 0)
		return "its timestamp is older than the one before";
	if ((s->opts & OPT_SACK) && !conn_has(k, OPT_SACK_OK))
		return "SACK blocks that were not agreed on";
	for (uint32_t i = 0; i < s->sack_count; i++) {
		uint32_t from = s->sack[i][0], to = s->sack[i][1];
		bool is_dsack = i == 0 && (AHEAD(to, s->ack) <= 0 || s->sack_count > 1);
		if (AHEAD(to, from) <= 0 || AHEAD(to, k->snd_nxt) > 0)
			return "a SACK block of what was never sent";
		if (!is_dsack && AHEAD(from, s->ack) <= 0)
			return "a SACK block that does not lie above the ACK";
	}
	return NULL;
}

static const char *
check_bytes(struct pkt_conn *k, const struct pkt_seg *s)
{
	uint32_t at = s->seq - k->irs - 1, end = s->seq + s->len;
	uint32_t mss = k->our_mss < 64 ? 64 : k->our_mss;

	if (s->len + (s->opt_n) > mss)
		return "larger than the peer's MSS (RFC 6691)";
	// A probe of a closed window has one byte beyond it.
	if (AHEAD(end, k->our_edge) > (s->len == 1))
		return "bytes beyond the peer's window";
	if (at >= PKT_STREAM_MAX || s->len > PKT_STREAM_MAX - at)
		return NULL;
	if (k->stream == NULL) {
		k->stream = calloc(1, PKT_STREAM_MAX);
		k->seen = calloc(1, PKT_STREAM_MAX);
		CHECK(k->stream != NULL && k->seen != NULL);
	}
	for (uint32_t i = 0; i < s->len; i++) {
		if (k->seen[at + i] && k->stream[at + i] != s->data[i])
			return "other bytes than the first time";
		k->stream[at + i] = s->data[i];
		k->seen[at + i] = 1;
	}
	return NULL;
}

static const char *
check_window(struct pkt_conn *k, const struct pkt_seg *s)
{
	uint32_t shift = conn_has(k, OPT_WSCALE) && !(s->flags & SYN) ? k->their_wscale : 0;
	uint32_t edge = s->ack + (s->win << shift);

	if (k->has_their_edge && AHEAD(edge, k->their_edge) + (int32_t)(1u << shift) <= 0)
		return "its window takes back what was offered (RFC 9293 3.8.6)";
	if (!k->has_their_edge || AHEAD(edge, k->their_edge) > 0)
		k->their_edge = edge;
	k->has_their_edge = true;
	return NULL;
}

const char *
check_seg(struct pkt_conn *k, const struct pkt_seg *s)
{
	const char *why = NULL;

	if ((s->flags & (URG | ECE | CWR)) || s->urg != 0)
		return "URG, ECE or CWR, which nobody asked for";
	if (s->flags & RST)
		return s->len > 0 ? "a RST with bytes" : NULL;
	if (s->flags & SYN)
		why = check_syn(k, s);
	else if (!(s->flags & ACK))
		return "neither SYN, RST nor ACK";
	else if (k->knows_irs)
		why = check_options(k, s);
	if (why != NULL || !k->knows_irs)
		return why;
	if (s->opts & OPT_TS)
		k->last_tsval = s->tsval;
	if (s->flags & ACK) {
		if (AHEAD(s->ack, k->snd_nxt) > 0)
			return "it acknowledges what was never sent";
		if (k->has_ack && AHEAD(s->ack, k->last_ack) < 0)
			return "its ACK goes back";
		k->has_ack = true;
		k->last_ack = s->ack;
		why = check_window(k, s);
		if (why != NULL)
			return why;
	}
	if (s->len > 0)
		why = check_bytes(k, s);
	uint32_t end = s->seq + s->len + !!(s->flags & FIN);
	if (AHEAD(s->seq, k->rcv_nxt) <= 0 && AHEAD(end, k->rcv_nxt) > 0)
		k->rcv_nxt = end;
	return why;
}
