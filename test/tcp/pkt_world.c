// SPDX-License-Identifier: Apache-2.0
// pkt_world: a worker between two wires whose far ends are the script's, on the virtual clock; the
// connections of the script; what is sent and what is seen.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/tcp/pkt.h"

#define WALL_START_US 1767225600000000ull
#define SETTLE_MAX 2000u

static const uint32_t far_ip[2] = {TEST_CLIENT_IP, TEST_BACKEND_IP};
static const uint32_t our_ip[2] = {TEST_OUTSIDE_IP, TEST_INSIDE_IP};

void
world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failed)
		return;
	w->failed = true;
	va_start(ap, fmt);
	(void)vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
}

void
world_trace(struct world *w, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w->verbose)
		printf("    %s\n", text);
	if (w->trace_count < PKT_TRACE_MAX)
		w->trace[w->trace_count++] = strdup(text);
}

// --- texts ---

static uint32_t
flags_text(uint32_t flags, char *out)
{
	static const char letters[] = "FSRP.UEW";
	uint32_t n = 0;

	for (uint32_t i = 0; i < 8; i++)
		if (flags & (1u << i))
			out[n++] = letters[i];
	if (n == 0)
		out[n++] = '-';
	out[n] = 0;
	return n;
}

static void
bytes_text(struct strbuf *b, const uint8_t *p, uint32_t n)
{
	strbuf_add_str(b, " \"");
	for (uint32_t i = 0; i < n && i < 40; i++) {
		if (p[i] == '\r')
			strbuf_add_str(b, "\\r");
		else if (p[i] == '\n')
			strbuf_add_str(b, "\\n");
		else if (p[i] < 32 || p[i] > 126)
			strbuf_addf(b, "\\x%02x", p[i]);
		else
			strbuf_add_char(b, (char)p[i]);
	}
	strbuf_add_str(b, n > 40 ? "\"..." : "\"");
}

void
seg_text(const struct pkt_conn *k, const struct pkt_seg *s, char *out, uint32_t size)
{
	struct strbuf b;
	char flags[16];

	strbuf_init(&b, out, size - 1);
	memset(out, 0, size);
	if (s->is_icmp) {
		strbuf_addf(&b, "icmp %u %u len %u", s->icmp_type, s->icmp_code, s->len);
		return;
	}
	(void)flags_text(s->flags, flags);
	int32_t seq = (int32_t)(s->seq - k->base_in);
	strbuf_addf(&b, "%s %d:%d(%u)", flags, seq, seq + (int32_t)s->len, s->len);
	if (s->flags & ACK)
		strbuf_addf(&b, " ack %d", (int32_t)(s->ack - k->base_out));
	strbuf_addf(&b, " win %u <", s->win);
	if (s->opts & OPT_MSS)
		strbuf_addf(&b, "mss %u,", s->mss);
	if (s->opts & OPT_SACK_OK)
		strbuf_add_str(&b, "sackOK,");
	if (s->opts & OPT_WSCALE)
		strbuf_addf(&b, "wscale %u,", s->wscale);
	if (s->opts & OPT_TS)
		strbuf_addf(&b, "ts %u %u,", s->tsval, s->tsecr);
	if (s->opts & OPT_SACK) {
		strbuf_add_str(&b, "sack");
		for (uint32_t i = 0; i < s->sack_count; i++)
			strbuf_addf(&b, " %d:%d", (int32_t)(s->sack[i][0] - k->base_out),
				    (int32_t)(s->sack[i][1] - k->base_out));
	}
	strbuf_add_char(&b, '>');
	if (s->len > 0)
		bytes_text(&b, s->data, s->len);
}

static void
num_text(struct strbuf *b, const struct pkt_num *n)
{
	if (n->is_any)
		strbuf_add_char(b, '*');
	else if (n->lo == n->hi)
		strbuf_addf(b, "%lld", (long long)n->lo);
	else if (n->hi == INT64_MAX)
		strbuf_addf(b, ">=%lld", (long long)n->lo);
	else if (n->lo == INT64_MIN)
		strbuf_addf(b, "<=%lld", (long long)n->hi);
	else
		strbuf_addf(b, "%lld..%lld", (long long)n->lo, (long long)n->hi);
}

void
segspec_text(const struct pkt_segspec *s, char *out, uint32_t size)
{
	struct strbuf b;
	char flags[16];

	strbuf_init(&b, out, size - 1);
	memset(out, 0, size);
	(void)flags_text(s->flags, flags);
	strbuf_add_str(&b, s->any_flags ? "*" : flags);
	if (s->has_seq) {
		strbuf_add_char(&b, ' ');
		num_text(&b, &s->seq);
	}
	if (s->has_len)
		strbuf_addf(&b, "(%lld)", (long long)s->len);
	if (s->has_ack) {
		strbuf_add_str(&b, " ack ");
		num_text(&b, &s->ack);
	}
	if (s->has_win) {
		strbuf_add_str(&b, " win ");
		num_text(&b, &s->win);
	}
	if (s->opt.is_given)
		strbuf_add_str(&b, " <..>");
	if (s->has_text)
		bytes_text(&b, s->text, s->text_n);
}

static const char *
options_differ(const struct pkt_conn *k, const struct pkt_seg *s, const struct pkt_optspec *o)
{
	if (!o->is_given)
		return NULL;
	if ((s->opts & o->want) != o->want)
		return "an option is missing";
	if (s->opts & o->ban)
		return "an option that must not be there";
	if (!o->is_open && (s->opts & ~o->want))
		return "an option too many";
	if ((o->want & OPT_MSS) && !num_matches(&o->mss, s->mss))
		return "MSS";
	if ((o->want & OPT_WSCALE) && !num_matches(&o->wscale, s->wscale))
		return "window scale";
	if ((o->want & OPT_TS) && !num_matches(&o->tsval, s->tsval))
		return "TSval";
	if ((o->want & OPT_TS) && !num_matches(&o->tsecr, s->tsecr))
		return "TSecr";
	if ((o->want & OPT_SACK) && o->sack_count > 0) {
		if (o->sack_count != s->sack_count)
			return "number of SACK blocks";
		for (uint32_t i = 0; i < o->sack_count; i++)
			for (uint32_t e = 0; e < 2; e++)
				if (!num_matches(&o->sack[i][e],
						 (int32_t)(s->sack[i][e] - k->base_out)))
					return "SACK blocks";
	}
	return NULL;
}

// The traffic class, or type of service.
static uint32_t
seg_class(const struct pkt_seg *s)
{
	return s->is_ipv6 ? (s->quote[0] & 15u) << 4 | s->quote[1] >> 4 : s->quote[1];
}

const char *
seg_differs(const struct pkt_conn *k, const struct pkt_seg *s, const struct pkt_segspec *want)
{
	if (s->is_icmp)
		return "it is ICMP";
	if (!want->any_flags && ((s->flags ^ want->flags) & ~(uint32_t)PSH))
		return "flags";
	if ((want->flags & PSH) && !(s->flags & PSH))
		return "PSH";
	if (want->has_seq && !num_matches(&want->seq, (int32_t)(s->seq - k->base_in)))
		return "sequence";
	if (want->has_len && want->len != (int64_t)s->len)
		return "length";
	if ((want->flags & FIN) && !want->has_len && !want->has_text && s->len > 0)
		return "a FIN alone was expected: length";
	if (want->has_text && (want->text_n != s->len || memcmp(want->text, s->data, s->len) != 0))
		return "bytes";
	if (want->has_ack && !num_matches(&want->ack, (int32_t)(s->ack - k->base_out)))
		return "ack";
	if (want->has_win && !num_matches(&want->win, s->win))
		return "window";
	if (want->mod.ttl >= 0 && want->mod.ttl != s->quote[s->is_ipv6 ? 7 : 8])
		return "TTL";
	if (want->mod.dscp >= 0 && (uint32_t)want->mod.dscp << 2 != seg_class(s))
		return "DSCP";
	return options_differ(k, s, &want->opt);
}

bool
seg_is_bare(const struct pkt_seg *s)
{
	return !s->is_icmp && s->len == 0 && (s->flags & (SYN | FIN | RST | ACK)) == ACK;
}

// --- connections ---

void
conn_init(struct pkt_conn *k, enum pkt_side side, uint32_t index)
{
	conn_fini(k);
	memset(k, 0, offsetof(struct pkt_conn, queue));
	k->head = k->count = 0;
	k->last.quote_n = 0;
	k->is_used = true;
	k->side = side;
	k->index = index;
	k->our_port = (uint16_t)(side == SIDE_C ? 40000 + index : TEST_SMTP_PORT);
	k->their_port = TEST_SMTP_PORT;
	// Just below the wrap: every longer script goes through it.
	k->iss = (side == SIDE_C ? 0xfffff000u : 0xfffff800u) + index * 0x10000;
	k->base_out = k->snd_nxt = k->iss;
	k->win = 65535;
}

void
conn_fini(struct pkt_conn *k)
{
	free(k->stream);
	free(k->seen);
	k->stream = k->seen = NULL;
}

void
conn_rebase(struct pkt_conn *k)
{
	k->base_out = k->snd_nxt - 1;
	k->base_in = k->rcv_nxt - 1;
}

struct pkt_seg *
conn_head(struct pkt_conn *k)
{
	return k->count > 0 ? &k->queue[k->head] : NULL;
}

void
conn_pop(struct pkt_conn *k)
{
	CHECK(k->count > 0);
	k->head = (k->head + 1) % PKT_QUEUE;
	k->count--;
}

void
seg_cut_fin(struct pkt_conn *k)
{
	struct pkt_seg fin = k->queue[k->head];

	CHECK(k->count > 0 && (fin.flags & FIN) && fin.len > 0);
	if (k->count == PKT_QUEUE)
		return;
	k->queue[k->head].flags &= ~(uint32_t)FIN;
	fin.seq += fin.len;
	fin.len = 0;
	struct pkt_seg first = k->queue[k->head];
	k->queue[k->head] = fin;
	k->head = (k->head + PKT_QUEUE - 1) % PKT_QUEUE;
	k->queue[k->head] = first;
	k->count++;
}

struct pkt_seg *
conn_next(struct world *w, struct pkt_conn *k, uint64_t us)
{
	uint64_t limit = w->now_us + us;

	world_settle(w);
	while (k->count == 0 && w->now_us < limit && !w->failed) {
		uint64_t next = worker_next_us(w->worker);
		next = next > w->now_us ? next : w->now_us + 1;
		world_pass(w, (next < limit ? next : limit) - w->now_us);
	}
	return w->failed ? NULL : conn_head(k);
}

static uint32_t
options_build(struct world *w, struct pkt_conn *k, const struct pkt_optspec *o, uint8_t *p)
{
	uint32_t n = 0;
	uint32_t clock = 1000 + (uint32_t)((w->now_us - VNET_START_US) / 1000);

	if (o->want & OPT_MSS) {
		const uint8_t b[4] = {2, 4, (uint8_t)(o->mss.lo >> 8), (uint8_t)o->mss.lo};
		memcpy(p, b, 4);
		n += 4;
	}
	if (o->want & OPT_SACK_OK) {
		p[n++] = 4;
		p[n++] = 2;
	}
	if (o->want & OPT_WSCALE) {
		p[n++] = 3;
		p[n++] = 3;
		p[n++] = (uint8_t)o->wscale.lo;
	}
	if (o->want & OPT_TS) {
		uint32_t v[2] = {(uint32_t)o->tsval.lo +
					 (o->tsval.is_any ? clock + k->ts_ahead : 0),
				 (uint32_t)o->tsecr.lo + (o->tsecr.is_any ? k->last_tsval : 0)};
		if (!o->tsval.is_any)
			k->ts_ahead = v[0] - clock;
		p[n++] = 8;
		p[n++] = 10;
		for (uint32_t i = 0; i < 8; i++)
			p[n++] = (uint8_t)(v[i / 4] >> (24 - 8 * (i % 4)));
	}
	if (o->want & OPT_SACK) {
		p[n++] = 5;
		p[n++] = (uint8_t)(2 + 8 * o->sack_count);
		for (uint32_t i = 0; i < 2 * o->sack_count; i++) {
			uint32_t v = k->base_in + (uint32_t)o->sack[i / 2][i % 2].lo;
			for (uint32_t j = 0; j < 4 && n < 40; j++)
				p[n++] = (uint8_t)(v >> (24 - 8 * j));
		}
	}
	if (o->raw_n > 0 && n + o->raw_n <= 40) {
		memcpy(p + n, o->raw, o->raw_n);
		return n + o->raw_n;
	}
	while (n % 4 != 0)
		p[n++] = 1;
	return n;
}

// What the connection remembers of a segment of the script. Segments with deliberate mistakes are
// not remembered.
static void
conn_sent(struct pkt_conn *k, const struct pkt_out *o, const struct pkt_optspec *opt)
{
	uint32_t end = o->seq + o->len + !!(o->flags & SYN) + !!(o->flags & FIN);
	const struct pkt_mods *m = o->mod;

	if (m->bad_tcp_sum || m->bad_ip_sum || m->more_fragments || m->cut > 0 || m->ttl == 0 ||
	    m->fragoff >= 0 || m->sport >= 0 || m->dport >= 0 || m->src != 0 || m->dst != 0 ||
	    m->doff >= 0 || m->iplen >= 0 || m->proto >= 0)
		return;
	if ((o->flags & SYN) && !k->is_open) {
		k->is_open = true;
		k->iss = k->base_out = o->seq;
		k->snd_nxt = end;
		k->offered = opt->want;
		k->our_wscale = opt->want & OPT_WSCALE ? (uint32_t)opt->wscale.lo : 0;
		k->our_wscale = k->our_wscale > 14 ? 14 : k->our_wscale;
		k->our_mss = o->is_ipv6 ? 1220 : 536; // unless it says otherwise (RFC 9293 3.7.1)
		if (opt->want & OPT_MSS)
			k->our_mss = (uint32_t)opt->mss.lo;
		k->our_edge = k->irs + 1 + o->win;
	}
	if (o->flags & RST)
		return;
	if (end - k->snd_nxt < 200000)
		k->snd_nxt = end;
	if ((o->flags & (ACK | SYN)) == ACK && k->knows_irs) {
		uint32_t edge = o->ack + (o->win << (conn_has(k, OPT_WSCALE) ? k->our_wscale : 0));
		if ((int32_t)(edge - k->our_edge) > 0)
			k->our_edge = edge;
	}
}

void
conn_send(struct world *w, struct pkt_conn *k, const struct pkt_segspec *s)
{
	struct pkt_optspec opt = s->opt;
	uint8_t optb[64], data[sizeof(s->text)], frame[PORT_FRAME_SIZE];
	struct pkt_mods mod = s->mod;
	struct pkt_out o = {.src = s->mod.src != 0 ? s->mod.src : far_ip[k->side],
			    .dst = s->mod.dst != 0 ? s->mod.dst : our_ip[k->side],
			    .is_ipv6 = w->is_ipv6 && k->side == SIDE_C,
			    .sport = (uint16_t)(s->mod.sport >= 0 ? s->mod.sport : k->our_port),
			    .dport = (uint16_t)(s->mod.dport >= 0 ? s->mod.dport : k->their_port),
			    .flags = s->flags,
			    .seq = k->snd_nxt,
			    .opt = optb,
			    .data = data,
			    .mod = &mod};

	if (mod.vlan < 0 && w->vlan[k->side] > 0)
		mod.vlan = w->vlan[k->side];
	if (s->has_seq)
		o.seq = (s->seq.is_any ? k->snd_nxt : k->base_out) + (uint32_t)s->seq.lo;
	else if (s->flags & SYN)
		o.seq = k->iss;
	o.ack = s->flags & ACK ? k->rcv_nxt : 0;
	if (s->has_ack)
		o.ack = (s->ack.is_any ? k->rcv_nxt : k->base_in) + (uint32_t)s->ack.lo;
	if (s->has_win)
		k->win = (uint32_t)s->win.lo;
	o.win = k->win;
	o.len = s->has_text ? s->text_n : (uint32_t)s->len;
	if (o.len > PKT_DATA_MAX) {
		world_fail(w, "a segment of %u bytes", o.len);
		return;
	}
	for (uint32_t i = 0; i < o.len; i++) { // lines of 50 bytes, by their place in the stream
		uint32_t at = o.seq - k->iss + i;
		data[i] = at % 50 == 48 ? '\r' : at % 50 == 49 ? '\n' : 'a' + at / 50 % 26;
	}
	if (s->has_text)
		memcpy(data, s->text, s->text_n);
	if (!opt.is_given && (s->flags & SYN))
		opt = w->syn[k->side];
	else if (!opt.is_given && conn_has(k, OPT_TS))
		opt = (struct pkt_optspec){
			.want = OPT_TS, .tsval = {.is_any = true}, .tsecr = {.is_any = true}};
	o.opt_n = options_build(w, k, &opt, optb);
	memcpy(o.dst_mac, vnet_port(w->link[k->side], VNET_B)->mac, 6);
	memcpy(o.src_mac, vnet_port(w->link[k->side], VNET_A)->mac, 6);
	uint32_t n = wire_tcp(frame, sizeof(frame), &o);
	if (n == 0) {
		world_fail(w, "the segment does not fit into a frame");
		return;
	}
	char flags[16];
	(void)flags_text(o.flags, flags);
	int32_t seq = (int32_t)(o.seq - k->base_out);
	world_trace(w, "%10.6f %c%.0u< %s %d:%d(%u) ack %d win %u", (double)w->now_us / 1e6,
		    "CB"[k->side], k -> index, flags, seq, seq + (int32_t)o.len, o.len,
		    (int32_t)(o.ack - k->base_in), o.win);
	conn_sent(k, &o, &opt);
	world_frame(w, k->side, frame, n);
}

void
conn_icmp(struct world *w, struct pkt_conn *k, const struct pkt_icmpspec *s)
{
	uint8_t body[1500], frame[PORT_FRAME_SIZE];
	struct pkt_mods mod = {.ttl = -1, .fragoff = -1, .iplen = -1, .proto = -1, .vlan = -1};
	struct pkt_out o = {.src = s->src != 0 ? s->src : far_ip[k->side],
			    .dst = our_ip[k->side],
			    .is_ipv6 = w->is_ipv6 && k->side == SIDE_C,
			    .data = body,
			    .mod = &mod};
	uint32_t ip_n = o.is_ipv6 ? 40 : 20;
	bool is_echo = o.is_ipv6 ? s->type == 128 : s->type == 8;

	if (w->vlan[k->side] > 0)
		mod.vlan = w->vlan[k->side];
	memset(body, 'e', sizeof(body));
	o.len = s->len;
	if (!is_echo) {
		if (k->last.quote_n == 0) {
			world_fail(w, "nothing to quote: the appliance sent no SYN and no bytes");
			return;
		}
		memcpy(body, k->last.quote, k->last.quote_n);
		if (s->has_quote) {
			uint32_t seq = k->base_in + (uint32_t)s->quote;
			for (uint32_t i = 0; i < 4; i++)
				body[ip_n + 4 + i] = (uint8_t)(seq >> (24 - 8 * i));
		}
		if (s->rport != 0) {
			body[ip_n + 2] = (uint8_t)(s->rport >> 8);
			body[ip_n + 3] = (uint8_t)s->rport;
		}
		o.len = s->quote_n > 0 ? s->quote_n : ip_n + 8;
	}
	memcpy(o.dst_mac, vnet_port(w->link[k->side], VNET_B)->mac, 6);
	memcpy(o.src_mac, vnet_port(w->link[k->side], VNET_A)->mac, 6);
	uint32_t n = wire_icmp(frame, &o, (uint8_t)s->type, (uint8_t)s->code, s->mtu);
	world_trace(w, "%10.6f %c< icmp %d %d mtu %u", (double)w->now_us / 1e6, "CB"[k->side],
		    s -> type, s -> code, s -> mtu);
	world_frame(w, k->side, frame, n);
}

// --- what comes ---

static struct pkt_conn *
conn_of(struct world *w, enum pkt_side side, const struct pkt_seg *s)
{
	struct pkt_conn *free_one = NULL;
	bool is_new = side == SIDE_B && (s->flags & (SYN | RST)) == SYN;

	for (uint32_t i = 0; i <= PKT_CONNS; i++) {
		struct pkt_conn *k = &w->conn[side][i];
		if (!k->is_used) {
			if (free_one == NULL && i < PKT_CONNS)
				free_one = k;
			continue;
		}
		if (side == SIDE_C && (i == PKT_CONNS) != (s->dport >= PKT_FLOOD_PORT))
			continue;
		if (side == SIDE_C && i == PKT_CONNS)
			return k;
		if (side == SIDE_C ? k->our_port == s->dport : k->their_port == s->sport)
			return k;
	}
	if (!is_new)
		return &w->conn[side][0];
	if (w->counters.v[COUNTER_BACKEND_PROBES] > w->probes_seen) {
		w->probes_seen = w->counters.v[COUNTER_BACKEND_PROBES];
		free_one = &w->conn[SIDE_B][PKT_CONNS];
	}
	if (free_one == NULL) {
		world_fail(w, "more than %u connections to the backend", PKT_CONNS);
		return &w->conn[side][0];
	}
	conn_init(free_one, side, (uint32_t)(free_one - w->conn[side]));
	free_one->is_auto = free_one->index == PKT_CONNS;
	free_one->their_port = s->sport;
	return free_one;
}

static bool
irs_is_known(const struct world *w, const struct pkt_conn *k)
{
	for (uint32_t i = 0; i < 2 * (PKT_CONNS + 1); i++) {
		const struct pkt_conn *o = &w->conn[i / (PKT_CONNS + 1)][i % (PKT_CONNS + 1)];
		if (o != k && o->is_used && o->knows_irs && o->irs == k->irs)
			return true;
	}
	return false;
}

static void
world_segment(struct world *w, enum pkt_side side, const uint8_t *f, uint32_t n)
{
	static struct pkt_seg s;
	char text[400];
	const char *why = wire_read(f, n, &s);

	if (why != NULL) {
		world_fail(w, "a frame of the appliance: %s", why);
		return;
	}
	s.at_us = w->now_us;
	struct pkt_conn *k = conn_of(w, side, &s);
	if (side == SIDE_C && k->index == PKT_CONNS)
		return;
	bool is_first = !k->knows_irs;
	why = s.is_icmp ? NULL : check_seg(k, &s);
	if (why == NULL && is_first && k->knows_irs && irs_is_known(w, k))
		why = "another connection began with this sequence number (RFC 6528)";
	seg_text(k, &s, text, sizeof(text));
	world_trace(w, "%10.6f %c%.0u> %s%s", (double)w->now_us / 1e6, "CB"[side], k -> index, text,
		    k -> is_auto ? " (health check)" : "");
	if (why != NULL)
		world_fail(w, "the appliance broke a rule: %s: %s", why, text);
	if (s.len > 0 || (s.flags & SYN))
		memcpy(&k->last, &s, sizeof(s));
	if (k->count == PKT_QUEUE) {
		world_fail(w, "more than %u segments that the script did not expect", PKT_QUEUE);
		return;
	}
	memcpy(&k->queue[(k->head + k->count++) % PKT_QUEUE], &s, sizeof(s));
	if (k->is_auto)
		macro_auto(w, k);
}

static void
world_arp_tagged(struct world *w, enum pkt_side side, const uint8_t *f)
{
	uint8_t plain[64], reply[64];

	memcpy(plain, f, 12);
	memcpy(plain + 12, f + 16, 30);
	uint32_t n = wire_arp_reply(reply, plain, vnet_port(w->link[side], VNET_A)->mac);
	if (n == 0)
		return;
	memmove(reply + 16, reply + 12, n - 12);
	memcpy(reply + 12, f + 12, 4);
	world_frame(w, side, reply, n + 4);
}

static void
world_input(struct world *w, enum pkt_side side, const uint8_t *f, uint32_t n)
{
	const uint8_t *mac = vnet_port(w->link[side], VNET_A)->mac;
	uint8_t reply[128];
	uint32_t len = 0;
	uint16_t type = n >= 18 ? get16(f + 12) : 0;

	if ((type == 0x8100) != (w->vlan[side] > 0) ||
	    (type == 0x8100 && (get16(f + 14) & 0xfff) != w->vlan[side]))
		world_fail(w, "a frame with another VLAN tag");
	if (type == 0x8100) {
		if (get16(f + 16) == 0x0806 && n >= 46 && w->arp_on[side])
			world_arp_tagged(w, side, f);
		if (get16(f + 16) != 0x0806)
			world_segment(w, side, f, n);
		return;
	}

	if (type == 0x0806) {
		if (w->arp_on[side] && n >= 42)
			len = wire_arp_reply(reply, f, mac);
		if (len > 0)
			world_frame(w, side, reply, len);
		return;
	}
	if (type == 0x86dd && n >= 55 && f[20] == 0)
		return; // hop-by-hop options: multicast listener reports
	if (type == 0x86dd && n >= 55 && f[20] == 58 && f[54] >= 130 && f[54] <= 143) {
		if (w->arp_on[side])
			len = wire_nd_reply(reply, f, n, mac);
		if (len > 0)
			world_frame(w, side, reply, len);
		return;
	}
	if (memcmp(f, mac, 6) != 0)
		world_fail(w, "a frame to another station");
	world_segment(w, side, f, n);
}

void
world_frame(struct world *w, enum pkt_side side, const uint8_t *f, uint32_t n)
{
	if (!vnet_inject(w->link[side], VNET_A, span_of(f, n)))
		world_fail(w, "the wire is full");
}

// The worker and the wires until nothing moves any more at this instant.
void
world_settle(struct world *w)
{
	struct frame burst[PORT_BURST];

	for (uint32_t turn = 0; turn < SETTLE_MAX; turn++) {
		uint32_t work = worker_poll(w->worker, w->now_us, WALL_START_US + w->now_us);
		for (uint32_t side = 0; side < 2; side++) {
			struct port *p = vnet_port(w->link[side], VNET_A);
			uint32_t n = p->ops->rx(p, burst, PORT_BURST);
			work += n;
			for (uint32_t i = 0; i < n; i++) {
				world_input(w, (enum pkt_side)side, burst[i].data, burst[i].len);
				p->ops->rx_free(p, &burst[i]);
			}
		}
		if (work == 0)
			return;
	}
	world_fail(w, "the appliance finds no rest");
}

void
world_pass(struct world *w, uint64_t us)
{
	uint64_t end = w->now_us + us;

	world_settle(w);
	while (w->now_us < end && !w->failed) {
		uint64_t next = worker_next_us(w->worker);
		next = next > w->now_us ? next : w->now_us + 1;
		w->now_us = next < end ? next : end;
		vnet_advance_to(w->net, w->now_us);
		world_settle(w);
	}
}

// --- opening ---

static bool
open_parts(struct world *w, struct strbuf *why)
{
	struct worker_args wa = {.seed = 1,
				 .mem = &mem_heap,
				 .counters = &w->counters,
				 .policy = w->policy,
				 .iface_count = 2};

	memset(wa.secret, 0x5a, sizeof(wa.secret));
	w->net = vnet_open(1);
	CHECK(w->net != NULL);
	for (uint32_t i = 0; i < 2; i++) {
		w->link[i] = vnet_link_open(w->net, NULL, NULL);
		CHECK(w->link[i] != NULL);
		wa.ifaces[i] = (struct net_iface){
			.port = vnet_port(w->link[i], VNET_B),
			.addr_count = 1,
			.addr = {{.addr = ipaddr_v4(our_ip[i]), .prefix_bits = 120}}};
		wa.ifaces[i].vlan = w->vlan[i];
	}
	if (w->is_ipv6) {
		struct net_addr *a = &wa.ifaces[SIDE_C].addr[1];
		CHECK(ipaddr_parse(SPAN_LIT("2001:db8::c000:20a"), &a->addr));
		a->prefix_bits = 64;
		wa.ifaces[SIDE_C].addr_count = 2;
	}
	w->now_us = vnet_now(w->net);
	w->worker = worker_open(&wa, w->now_us, why);
	return w->worker != NULL;
}

bool
world_open(struct world *w)
{
	char text[512];
	struct strbuf why;

	strbuf_init(&why, text, sizeof(text));
	w->policy = testpolicy_make(w->tp, 1, &why);
	if (w->policy == NULL || !open_parts(w, &why)) {
		struct span s = strbuf_span(&why);
		world_fail(w, "the worker does not open: %.*s", (int)s.n, (const char *)s.p);
		return false;
	}
	w->is_open = true;
	for (uint32_t i = 0; i < PKT_CONNS; i++)
		conn_init(&w->conn[SIDE_C][i], SIDE_C, i);
	conn_init(&w->conn[SIDE_C][PKT_CONNS], SIDE_C, PKT_CONNS);
	if (w->arp_on[SIDE_C] && w->vlan[SIDE_C] == 0) {
		uint8_t frame[64];
		struct pkt_out o = {.src = TEST_CLIENT_IP, .dst = TEST_OUTSIDE_IP};
		memcpy(o.src_mac, vnet_port(w->link[SIDE_C], VNET_A)->mac, 6);
		world_frame(w, SIDE_C, frame, wire_arp_request(frame, &o));
	}
	// The first health check; with IPv6 duplicate address detection too.
	world_pass(w, w->is_ipv6 ? 5000000 : 100000);
	w->event_us = w->now_us;
	w->counters_start = w->counters;
	return !w->failed;
}

void
world_close(struct world *w)
{
	if (w->worker != NULL)
		worker_close(&w->worker);
	if (w->net != NULL)
		vnet_close(&w->net);
	if (w->policy != NULL)
		policy_use_close(&w->policy);
	testpolicy_close(&w->tp);
	for (uint32_t i = 0; i < 2 * (PKT_CONNS + 1); i++)
		conn_fini(&w->conn[i / (PKT_CONNS + 1)][i % (PKT_CONNS + 1)]);
	for (uint32_t i = 0; i < w->trace_count; i++)
		free(w->trace[i]);
}
