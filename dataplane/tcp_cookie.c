// SPDX-License-Identifier: Apache-2.0
// tcp_cookie: answers to SYNs that keep nothing here: the client brings it back with its ACK. Runs
// on the owning worker.
//
//   sequence number   29 bits of SipHash(path, its number, step of 64 s, has timestamps, MSS),
//                     3 bits MSS
//   TSval             our clock, its low 9 bits: our window scale, the peer's (15: none), SACK
//
// Without timestamps there is no place for the options, so such a connection has neither scale nor
// SACK. TSval must not run ahead of our clock: what is sent later would seem old (PAWS); it lags by
// up to half a second instead. Guessing one costs 2^28 segments, and those count as BAD and are
// answered by a limited number of RSTs. What is lost: the ACK of a client that then waits for our
// greeting is not asked for again, because nobody remembers it; that is why there are records as
// long as there is no attack.
#include "dataplane/tcp_conn.h"

#define MSS_BITS 3u
#define TS_MASK ((1u << TCP_COOKIE_TS_BITS) - 1)
#define NO_SCALE 15u

// Ascending; what a peer asks for is rounded down.
static const uint16_t cookie_mss[1u << MSS_BITS] = {
	TCP_MSS_MIN, 256, TCP_MSS_DEFAULT, TCP_MSS_DEFAULT6, 1360, 1440, 1460, 8960};

static uint32_t
cookie_make(const struct tcp *t, const struct tcp_path *path, uint32_t irs, uint32_t step,
	    uint32_t what)
{
	const uint64_t words[2] = {tcp_secret(t, path, TCP_SECRET_COOKIE),
				   (uint64_t)irs | (uint64_t)step << 32};
	uint64_t mac = siphash13_words(t->key, words, 2, (uint64_t)what | 17ull << 56);

	return (uint32_t)mac << MSS_BITS | (what & ((1u << MSS_BITS) - 1));
}

static uint32_t
cookie_what(uint32_t mss_index, bool has_ts)
{
	return mss_index | (has_ts ? 1u << MSS_BITS : 0);
}

void
tcp_cookie_send(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s)
{
	uint32_t mss = s->opts & TCP_OPT_MSS ? s->mss : tcp_mss_default(&path->laddr);
	uint32_t index = ARRAY_LEN(cookie_mss) - 1, ts_offset;
	bool has_ts = s->opts & TCP_OPT_TS;
	uint8_t scale = tcp_rcv_wscale(t);

	while (index > 0 && cookie_mss[index] > mss)
		index--;
	(void)tcp_isn(t, path, &ts_offset);
	uint32_t now = t->now_ms32 + ts_offset;
	uint32_t bits = (uint32_t)scale << 5 |
			(s->opts & TCP_OPT_WSCALE ? MIN(s->wscale, TCP_WSCALE_MAX) : NO_SCALE)
				<< 1 |
			!!(s->opts & TCP_OPT_SACK_OK);
	uint32_t tsval = (now & ~TS_MASK) | bits;

	if (seq_lt(now, tsval))
		tsval -= TS_MASK + 1;
	uint16_t wnd = (uint16_t)MIN(t->set.window_bytes, UINT16_MAX);
	struct tcp_bare answer = {
		.seq = cookie_make(t, path, s->seq, t->now_s / TCP_COOKIE_STEP_S,
				   cookie_what(index, has_ts)),
		.ack = s->seq + 1,
		.tsval = tsval,
		.tsecr = s->tsval,
		.wnd = wnd,
		.mss = tcp_mss_for(&path->laddr, t->mtu),
		.flags = TCP_SYN | TCP_ACK,
		.wscale = scale,
		.opts = has_ts ? s->opts : 0,
	};

	if (!tcp_seg_send(t, path, &answer))
		return; // the client asks again
	// A cookie has no room for the window, and a policy may change it before the cookie is
	// back.
	t->cookie_wnd = t->now_ms < t->cookie_ms ? MAX(t->cookie_wnd, wnd) : wnd;
	t->cookie_ms = t->now_ms + 2u * TCP_COOKIE_STEP_S * 1000;
	COUNT(t->counters, TCP_COOKIES_SENT);
}

static bool
cookie_is_ours(const struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s)
{
	uint32_t iss = s->ack - 1, irs = s->seq - 1, step = t->now_s / TCP_COOKIE_STEP_S;
	uint32_t what = cookie_what(iss & (ARRAY_LEN(cookie_mss) - 1), s->opts & TCP_OPT_TS);

	return cookie_make(t, path, irs, step, what) == iss ||
	       cookie_make(t, path, irs, step - 1, what) == iss;
}

bool
tcp_cookie_take(struct tcp *t, const struct tcp_path *path, const struct tcp_seg *s,
		struct tcp_embryo *e)
{
	struct tcp_listener *l = tcp_listener_find(t, path);
	uint32_t bits = s->tsecr & TS_MASK;

	if (t->now_ms >= t->cookie_ms || l == NULL ||
	    (s->flags & (TCP_ACK | TCP_SYN | TCP_RST)) != TCP_ACK)
		return false;
	if (!cookie_is_ours(t, path, s)) {
		COUNT(t->counters, TCP_COOKIES_BAD);
		return false;
	}
	COUNT(t->counters, TCP_COOKIES_GOOD);
	*e = (struct tcp_embryo){
		.magic = TCP_EMBRYO_MAGIC,
		.path = *path,
		.listener = (uint8_t)(l - t->listeners),
		.opts = TCP_OPT_MSS,
		.irs = s->seq - 1,
		.iss = s->ack - 1,
		.mss = cookie_mss[(s->ack - 1) & (ARRAY_LEN(cookie_mss) - 1)],
		.wnd = (uint16_t)s->wnd,
		.rcv_wnd = t->cookie_wnd,
	};
	if (!(s->opts & TCP_OPT_TS))
		return true;
	e->opts |= TCP_OPT_TS | (bits & 1 ? TCP_OPT_SACK_OK : 0);
	e->ts_recent = s->tsval;
	e->snd_wscale = bits >> 1 & 15;
	e->rcv_wscale = (uint8_t)MIN(bits >> 5 & 15, TCP_WSCALE_MAX);
	if (e->snd_wscale != NO_SCALE)
		e->opts |= TCP_OPT_WSCALE;
	return true;
}
