// SPDX-License-Identifier: Apache-2.0
// tcp_mtu: how large a packet the path carries (RFC 1191, 8201, 9293 3.7.5). Runs on the owning
// worker.
//
// Two things lower it: a router says so (tcp_mtu_too_big, after tcp_error has seen that the quoted
// segment is in flight), or full segments are lost again and again (RFC 2923: routers that drop
// without a word), then every further timeout goes a step down `steps`, in the spirit of RFC 4821.
// The result is c->mss; whoever cuts segments looks at nothing else. mtu_resend is the one place
// that starts a repetition.
//
// What was learnt is remembered by peer, MTU_SETS sets of MTU_WAYS entries, so that new connections
// begin right: ten minutes for what a router said (RFC 1191 6.3), two for a guess, because an
// outage looks the same. A connection never goes up again by itself; that is left to its
// successors, mail connections are short. What a stranger can do who guesses a sequence number in
// flight: make one peer's segments MTU_MIN_V4 (1280 with IPv6) large for that time. RFC 1191 lets
// routers say 68, which is refused to that bound as Linux does, and the DF bit stays set: below it
// there is no mail.
#include "dataplane/tcp_sent.h"

#define MTU_TOLD_S 600u
#define MTU_GUESS_S 120u
#define MTU_MIN_V4 552u
#define MTU_MIN_V6 1280u
#define MTU_TIMEOUTS 1u      // so many are loss; the next one may be a black hole
#define MTU_TIMEOUTS_FULL 4u // the same when segments of that size have got through

static const uint16_t steps[] = {1400, 1280, 1024, 576};

static uint32_t
mtu_min(const struct tcp_conn *c)
{
	return ipaddr_is_v4(&c->path.laddr) ? MTU_MIN_V4 : MTU_MIN_V6;
}

// What goes with every full segment: IP, TCP, timestamps.
static uint32_t
mtu_headers(const struct tcp_conn *c)
{
	return (ipaddr_is_v4(&c->path.laddr) ? 40u : 60u) + (c->flags & TF_TS ? 12u : 0u);
}

static uint32_t
mtu_step_below(const struct tcp_conn *c, uint32_t mtu)
{
	for (uint32_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (steps[i] < mtu && steps[i] >= mtu_min(c))
			return steps[i];
	}
	return mtu;
}

// The entry of a peer, or the one that makes room for it: a free or expired one, else the one that
// expires first.
static struct tcp_mtu *
mtu_entry(struct tcp *t, const struct ipaddr *raddr, bool *is_found)
{
	struct tcp_mtu *set = t->mtus[siphash13(t->key, raddr, sizeof(*raddr)) % TCP_MTU_SETS];
	struct tcp_mtu *old = &set[0];

	*is_found = false;
	for (uint32_t i = 0; i < TCP_MTU_WAYS; i++) {
		struct tcp_mtu *e = &set[i];

		if (e->mtu != 0 && seq_le(e->until_s, t->now_s))
			e->mtu = 0;
		if (e->mtu != 0 && ipaddr_eq(&e->raddr, raddr)) {
			*is_found = true;
			return e;
		}
		if (old->mtu != 0 && (e->mtu == 0 || seq_lt(e->until_s, old->until_s)))
			old = e;
	}
	return old;
}

// Usually not: then nobody looks anything up.
static bool
mtu_is_any(const struct tcp *t)
{
	return t->mtu_until_s != 0 && seq_lt(t->now_s, t->mtu_until_s);
}

static void
mtu_set(struct tcp_conn *c, uint32_t mtu, uint32_t life_s)
{
	struct tcp *t = c->tcp;
	bool is_found;
	struct tcp_mtu *e = mtu_entry(t, &c->path.raddr, &is_found);

	CHECK(mtu >= mtu_min(c) && mtu - mtu_headers(c) < c->mss);
	*e = (struct tcp_mtu){c->path.raddr, t->now_s + life_s, (uint16_t)mtu};
	if (!mtu_is_any(t) || seq_lt(t->mtu_until_s, e->until_s))
		t->mtu_until_s = e->until_s;
	c->mss = (uint16_t)(mtu - mtu_headers(c));
	c->flags &= ~TF_FULL;
}

// What is in flight was cut too large: it leaves again in pieces that fit. That it was lost says
// nothing about congestion, so cwnd stays (RFC 1191 6.4).
static void
mtu_resend(struct tcp_conn *c)
{
	if (c->flags & TF_PERSIST)
		return; // one byte is in flight
	tcp_recover_mtu(c);
}

uint32_t
tcp_mtu_mss(struct tcp_conn *c, uint32_t mss)
{
	bool is_found;

	if (!mtu_is_any(c->tcp))
		return mss;
	const struct tcp_mtu *e = mtu_entry(c->tcp, &c->path.raddr, &is_found);
	uint32_t known = is_found ? e->mtu - mtu_headers(c) : mss;

	if (known >= mss)
		return mss;
	COUNT(c->tcp->counters, TCP_MTU_KNOWN);
	return known;
}

bool
tcp_mtu_too_big(struct tcp_conn *c, uint32_t mtu)
{
	uint32_t headers = mtu_headers(c), had = c->mss + headers;

	if (mtu < MTU_MIN_V6 && !ipaddr_is_v4(&c->path.laddr))
		return false; // no router may say that (RFC 8201 4)
	if (mtu == 0)         // a router older than RFC 1191
		mtu = mtu_step_below(c, had);
	mtu = MAX(mtu, mtu_min(c));
	// It must be news, and something must be in flight that is larger than it (RFC 5927 7.2).
	if (mtu >= had || c->snd_max - c->snd_una <= mtu - headers)
		return false;
	mtu_set(c, mtu, MTU_TOLD_S);
	COUNT(c->tcp->counters, TCP_MTU_LOWERED);
	mtu_resend(c);
	return true;
}

void
tcp_mtu_timeout(struct tcp_conn *c)
{
	// The segment that does not get through. Small ones do: the handshake did.
	uint32_t lost = MIN(MIN(c->snd_max - c->snd_una, c->sndq.bytes), c->mss);
	uint32_t mtu = lost + mtu_headers(c), step = mtu_step_below(c, mtu);

	// At 10 % loss a segment and its repetitions are lost often enough. Who took that for a
	// black hole would end up with the smallest segments, and all others to that peer too.
	uint32_t most = c->flags & TF_FULL ? MTU_TIMEOUTS_FULL : MTU_TIMEOUTS;

	if (c->retries < most || step == mtu)
		return;
	mtu_set(c, step, MTU_GUESS_S);
	c->backoff = 0; // it is something else that is tried now: four steps must not take minutes
	COUNT(c->tcp->counters, TCP_MTU_BLACK_HOLE);
}
