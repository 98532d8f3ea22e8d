// SPDX-License-Identifier: Apache-2.0
// pkt_macro: the boring parts of a conversation: handshakes, SMTP up to the interesting place,
// bytes in bulk, health checks. After each of them both sides' numbers begin at 1 again.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/tcp/pkt.h"

#define PATIENCE_US 1000000u
#define HEAR_MAX 65536u
#define BULK_SEGMENT 1000u
#define BULK_MAX (4u << 20)

static struct pkt_segspec *
plain(uint32_t flags)
{
	static struct pkt_segspec s;

	memset(&s, 0, offsetof(struct pkt_segspec, text));
	s.mod.ttl = s.mod.fragoff = s.mod.doff = s.mod.iplen = -1;
	s.mod.sport = s.mod.dport = s.mod.proto = s.mod.vlan = -1;
	s.flags = flags;
	return &s;
}

// A far end is as far as `rtt` says.
static void
answer(struct world *w, struct pkt_conn *k, const struct pkt_segspec *s)
{
	struct pkt_segspec copy = *s; // health checks use the same one meanwhile

	world_pass(w, w->rtt_us[k->side]);
	if (!w->failed)
		conn_send(w, k, &copy);
}

static void
drop_bare(struct pkt_conn *k)
{
	while (conn_head(k) != NULL && seg_is_bare(conn_head(k)))
		conn_pop(k);
}

static void
done(struct pkt_conn *k)
{
	drop_bare(k);
	conn_rebase(k);
}

// [<options>] [win N]: of the script's SYN or SYN-ACK.
void
macro_handshake(struct world *w, struct pkt_conn *k, struct cursor *c)
{
	static struct pkt_segspec spec; // of its own: health checks use plain's meanwhile
	struct pkt_segspec *s = &spec;
	struct pkt_seg *got;
	char word[32];

	*s = *plain(k->side == SIDE_C ? SYN : SYN | ACK);
	s->opt = w->syn[k->side];
	s->win = (struct pkt_num){.lo = w->syn_win[k->side]};
	s->has_win = true;
	if (c != NULL && cursor_peek(c) == '<' && !parse_options(c, &s->opt)) {
		world_fail(w, "%s", c->why);
		return;
	}
	if (c != NULL && cursor_is(c, "win") &&
	    (!cursor_word(c, word, sizeof(word)) || !parse_num(word, &s->win))) {
		world_fail(w, "win N");
		return;
	}
	if (k->side == SIDE_C)
		conn_send(w, k, s);
	got = conn_next(w, k, PATIENCE_US);
	if (got == NULL || (got->flags & (SYN | RST)) != SYN) {
		world_fail(w, "no SYN came from the appliance");
		return;
	}
	conn_pop(k);
	answer(w, k, k->side == SIDE_B ? s : plain(ACK));
	world_settle(w);
	done(k);
}

void
macro_say(struct world *w, struct pkt_conn *k, const uint8_t *p, uint32_t n)
{
	struct pkt_segspec *s = plain(PSH | ACK);

	s->has_text = true;
	s->text_n = n;
	memcpy(s->text, p, n);
	answer(w, k, s);
	world_settle(w);
	done(k);
}

// Takes the bytes of the next segment; 0: it has none, or there is no segment.
static uint32_t
take(struct pkt_conn *k, uint8_t *out, uint32_t room)
{
	struct pkt_seg *s = conn_head(k);

	if (s == NULL || s->len == 0 || (s->flags & (SYN | RST)) || s->len > room)
		return 0;
	uint32_t n = s->len;
	if (out != NULL)
		memcpy(out, s->data, n);
	if (s->flags & FIN) { // the FIN is the script's
		s->seq += n;
		s->len = 0;
	} else {
		conn_pop(k);
	}
	return n;
}

static bool
is_whole(const struct pkt_conn *k, const uint8_t *p, uint32_t n)
{
	if (n < 2 || p[n - 2] != '\r' || p[n - 1] != '\n')
		return false;
	uint32_t at = n - 2;
	while (at > 0 && p[at - 1] != '\n')
		at--;
	return k->side == SIDE_B || (n - at > 4 && p[at + 3] != '-');
}

// A reply or a command, to its last line; it is acknowledged.
void
macro_hear(struct world *w, struct pkt_conn *k, const char *prefix)
{
	static uint8_t heard[HEAR_MAX + 1];
	uint32_t n = 0, got;

	while (!w->failed) {
		world_settle(w);
		drop_bare(k);
		while ((got = take(k, heard + n, HEAR_MAX - n)) > 0) {
			n += got;
			drop_bare(k);
		}
		if (is_whole(k, heard, n) || conn_head(k) != NULL)
			break;
		if (conn_next(w, k, PATIENCE_US) == NULL)
			break;
	}
	heard[n] = 0;
	if (n < strlen(prefix) || memcmp(heard, prefix, strlen(prefix)) != 0) {
		world_fail(w, "expected to hear \"%s\", heard \"%.*s\"", prefix,
			   n > 200 ? 200 : (int)n, (const char *)heard);
		return;
	}
	answer(w, k, plain(ACK));
	world_settle(w);
	done(k);
}

static void
send_segment(struct world *w, struct pkt_conn *k, uint32_t n)
{
	struct pkt_segspec *s = plain(ACK);

	s->len = n;
	conn_send(w, k, s);
	world_settle(w);
	drop_bare(k);
}

// As many bytes of message lines, within the appliance's window.
void
macro_send(struct world *w, struct pkt_conn *k, uint32_t n)
{
	uint32_t waited = 0;

	while (n > 0 && !w->failed) {
		uint32_t room = k->their_edge - k->snd_nxt;
		uint32_t part = MIN(MIN(n, BULK_SEGMENT), room);
		if (part > 0) {
			send_segment(w, k, part);
			n -= part;
			waited = 0;
		} else if (waited++ < 5000) {
			world_pass(w, 1000);
			drop_bare(k);
		} else {
			world_fail(w, "the window stayed closed with %u bytes to go", n);
		}
	}
	done(k);
}

// Full segments until the window is closed and stays so. Returns the bytes.
uint32_t
macro_fill(struct world *w, struct pkt_conn *k)
{
	uint32_t n = 0;

	while (n < BULK_MAX && !w->failed) {
		uint32_t room = k->their_edge - k->snd_nxt;
		if (room == 0) {
			world_pass(w, 60000); // a delayed ACK may tell more
			room = k->their_edge - k->snd_nxt;
		}
		if (room == 0)
			break;
		uint32_t part = MIN(room, BULK_SEGMENT);
		send_segment(w, k, part);
		n += part;
	}
	done(k);
	return n;
}

// Reads and acknowledges all that comes until nothing comes any more. Returns the bytes.
uint32_t
macro_drain(struct world *w, struct pkt_conn *k)
{
	uint32_t n = 0, got;

	while (n < BULK_MAX && !w->failed) {
		uint32_t before = n, old = k->snd_nxt;
		world_settle(w);
		drop_bare(k);
		while ((got = take(k, NULL, HEAR_MAX)) > 0) {
			n += got;
			drop_bare(k);
		}
		if (n > before) {
			answer(w, k, plain(ACK));
			world_settle(w);
		} else {
			if (conn_head(k) != NULL)
				break;
			world_pass(w, PKT_SLACK_US);
			drop_bare(k);
			if (conn_head(k) == NULL)
				break;
		}
		CHECK(k->snd_nxt == old);
	}
	done(k);
	return n;
}

void
macro_flood(struct world *w, uint32_t n)
{
	struct pkt_conn *k = &w->conn[SIDE_C][PKT_CONNS];
	struct pkt_segspec s = *plain(SYN);

	for (uint32_t i = 0; i < n && !w->failed; i++) {
		k->our_port = (uint16_t)(PKT_FLOOD_PORT + i % 15000);
		s.mod.src = TEST_CLIENT_IP + 1 + i / 15000;
		conn_send(w, k, &s);
		if (i % 16 == 15)
			world_settle(w);
	}
	world_settle(w);
}

static void
say(struct world *w, struct pkt_conn *k, const char *text)
{
	if (!w->failed)
		macro_say(w, k, (const uint8_t *)text, (uint32_t)strlen(text));
}

static void
hear(struct world *w, struct pkt_conn *k, const char *prefix)
{
	if (!w->failed)
		macro_hear(w, k, prefix);
}

static void
relay_rcpt(struct world *w, struct pkt_conn *c)
{
	macro_handshake(w, c, NULL);
	hear(w, c, "220");
	say(w, c, "EHLO client.example.com\r\n");
	hear(w, c, "250-");
	say(w, c, "MAIL FROM:<alice@example.com>\r\n");
	hear(w, c, "250");
	say(w, c, "RCPT TO:<bob@example.net>\r\n");
}

static void
relay_open(struct world *w, struct pkt_conn *c, struct pkt_conn *b)
{
	relay_rcpt(w, c);
	if (!w->failed)
		macro_handshake(w, b, NULL);
	say(w, b, "220 backend\r\n");
	hear(w, b, "EHLO");
	say(w, b, "250-backend\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
	hear(w, b, "MAIL FROM");
	say(w, b, "250 ok\r\n250 ok\r\n");
	hear(w, c, "250");
	say(w, c, "DATA\r\n");
	hear(w, c, "354");
}

// rcpt: the first RCPT has been sent, so that the appliance turns to the backend. open: up to the
// client's 354. stream: and the message's header has gone through to the backend. finish: its end,
// and the backend's 250.
void
macro_relay(struct world *w, const char *how)
{
	struct pkt_conn *c = &w->conn[SIDE_C][0], *b = &w->conn[SIDE_B][0];

	if (strcmp(how, "finish") == 0) {
		(void)macro_drain(w, b);
		say(w, c, "\r\n.\r\n");
		(void)macro_drain(w, b);
		say(w, b, "250 2.0.0 taken\r\n");
		hear(w, c, "250 2.0.0 taken");
		return;
	}
	if (strcmp(how, "rcpt") == 0) {
		relay_rcpt(w, c);
		return;
	}
	relay_open(w, c, b);
	if (strcmp(how, "open") == 0 || w->failed)
		return;
	say(w, c, "Subject: relay\r\n\r\n");
	hear(w, b, "DATA");
	say(w, b, "354 go\r\n");
	hear(w, b, "Subject: relay\r\n");
	done(c);
}

void
macro_bulk(struct world *w, uint32_t n)
{
	struct pkt_conn *c = &w->conn[SIDE_C][0], *b = &w->conn[SIDE_B][0];
	struct pkt_segspec s = *plain(ACK);
	uint32_t win = b->win;

	s.has_win = true;
	conn_send(w, b, &s);
	world_settle(w);
	macro_send(w, c, n);
	done(b);
	s.win.lo = win;
	conn_send(w, b, &s);
	world_settle(w);
}

// --- health checks: a mail server that answers EHLO and QUIT ---

void
macro_auto(struct world *w, struct pkt_conn *k)
{
	static const char ehlo[] = "250-backend\r\n250-PIPELINING\r\n250 8BITMIME\r\n";
	struct pkt_seg *s = conn_head(k);

	while (s != NULL) {
		struct pkt_segspec *out = plain(ACK);
		const char *text = "";
		if (s->flags & SYN) {
			out->flags = SYN | ACK;
			conn_send(w, k, out);
		} else if (s->flags & RST) {
			k->is_used = false;
		} else if (k->auto_step == 0) {
			text = "220 backend\r\n";
			k->auto_step = 1;
		} else if (s->len >= 4 && memcmp(s->data, "EHLO", 4) == 0) {
			text = ehlo;
		} else if (s->len >= 4 && memcmp(s->data, "QUIT", 4) == 0) {
			text = "221 bye\r\n";
			out->flags |= FIN;
		}
		if (text[0] != 0) {
			out->has_text = true;
			out->text_n = (uint32_t)strlen(text);
			memcpy(out->text, text, out->text_n);
		}
		if (!(s->flags & (SYN | RST)) && (text[0] != 0 || s->len > 0 || (s->flags & FIN)))
			conn_send(w, k, out);
		conn_pop(k);
		s = conn_head(k);
	}
}
