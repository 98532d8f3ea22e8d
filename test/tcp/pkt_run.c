// SPDX-License-Identifier: Apache-2.0
// pkt_run: plays packet scripts (*.pkt) against a whole worker whose two wires end in the script.
//
//   pkt_run [-v] [-p PENDING] FILE..   one line a script, then `N passed, N failed[, N skipped]`
//   pkt_run -x FILE..                  each must fail, and say what its line `# fails: TEXT` says
//
// README.md lists the words. PENDING has lines `FILE REASON`: those are skipped. Exit 1: one
// failed.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/tcp/pkt.h"

#define LINE_MAX 4096u
#define TRACE_SHOWN 60u

static bool
usage(struct world *w, const char *why)
{
	world_fail(w, "%s", why);
	return false;
}

// --- lines ---

static void
do_expect(struct world *w, struct pkt_conn *k, struct cursor *c, uint64_t from_us, uint64_t to_us)
{
	static struct pkt_segspec s;
	char want[400], got[400];
	uint64_t limit = w->event_us + to_us + PKT_SLACK_US;
	bool is_search = cursor_is(c, "find");

	if (!parse_seg(c, &s)) {
		usage(w, c->why);
		return;
	}
	segspec_text(&s, want, sizeof(want));
	for (;;) {
		struct pkt_seg *g = conn_next(w, k, limit > w->now_us ? limit - w->now_us : 0);
		if (w->failed)
			return;
		if (g == NULL) {
			world_fail(w, "expected: %s; got nothing", want);
			return;
		}
		const char *differs = seg_differs(k, g, &s);
		if (differs != NULL && (g->flags & FIN) && g->len > 0 && !(s.flags & FIN)) {
			seg_cut_fin(k); // on the bytes or behind them: that is the sender's choice
			g = conn_head(k);
			differs = seg_differs(k, g, &s);
		}
		if (differs == NULL && from_us > 0 &&
		    g->at_us + PKT_SLACK_US < w->event_us + from_us)
			differs = "too early";
		if (differs == NULL && g->at_us > limit)
			differs = "too late";
		if (differs == NULL) {
			w->event_us = MAX(w->event_us, g->at_us);
			conn_pop(k);
			if (--s.times == 0)
				return;
			s.seq.lo += s.len;
			s.seq.hi += s.len;
			segspec_text(&s, want, sizeof(want));
			continue;
		}
		if (!is_search && (w->is_exact || !seg_is_bare(g))) {
			seg_text(k, g, got, sizeof(got));
			world_fail(w, "expected: %s; got: %s (%s, at %+.3f)", want, got, differs,
				   ((double)g->at_us - (double)w->event_us) / 1e6);
			return;
		}
		conn_pop(k);
	}
}

static void
do_expect_icmp(struct world *w, struct pkt_conn *k, struct cursor *c)
{
	struct pkt_icmpspec s;
	char got[400];

	if (!parse_icmp(c, &s)) {
		usage(w, c->why);
		return;
	}
	struct pkt_seg *g = conn_next(w, k, PKT_SLACK_US);
	if (g == NULL) {
		world_fail(w, "expected: icmp %d %d; got nothing", s.type, s.code);
		return;
	}
	seg_text(k, g, got, sizeof(got));
	if (!g->is_icmp || g->icmp_type != s.type || g->icmp_code != s.code ||
	    (s.len > 0 && s.len != g->len))
		world_fail(w, "expected: icmp %d %d; got: %s", s.type, s.code, got);
	else
		conn_pop(k);
}

static void
do_frame(struct world *w, struct pkt_conn *k, struct cursor *c)
{
	char hex[2 * PORT_FRAME_SIZE + 1];
	uint8_t frame[PORT_FRAME_SIZE];
	uint32_t n;

	if (!cursor_word(c, hex, sizeof(hex)) || !parse_hex(hex, frame, sizeof(frame), &n) ||
	    n < 12) {
		usage(w, "frame HEX");
		return;
	}
	world_trace(w, "%10.6f %c< frame of %u bytes", (double)w->now_us / 1e6, "CB"[k->side], n);
	world_frame(w, k->side, frame, n);
}

static void
do_in(struct world *w, struct pkt_conn *k, struct cursor *c)
{
	static struct pkt_segspec s;
	struct pkt_icmpspec icmp;

	if (cursor_is(c, "frame")) {
		do_frame(w, k, c);
	} else if (cursor_is(c, "icmp")) {
		if (parse_icmp(c, &icmp))
			conn_icmp(w, k, &icmp);
		else
			usage(w, c->why);
	} else if (parse_seg(c, &s)) {
		for (uint32_t i = 0; i < s.times && !w->failed; i++) {
			conn_send(w, k, &s);
			s.seq.lo += s.len;
			s.seq.hi += s.len;
			world_settle(w);
		}
	} else {
		usage(w, c->why);
	}
	if (!w->failed)
		world_settle(w);
	w->event_us = w->now_us;
}

static void
reuse(struct pkt_conn *k, uint32_t above)
{
	uint32_t iss = k->snd_nxt + above;
	uint16_t their_port = k->their_port;

	conn_init(k, k->side, k->index);
	k->iss = k->base_out = k->snd_nxt = iss;
	k->their_port = their_port;
}

static void
do_verb(struct world *w, struct pkt_conn *k, struct cursor *c)
{
	static uint8_t text[8193];
	uint32_t n = 0;
	char v[32], verb[32];
	struct pkt_num num = {.is_any = true};

	if (!cursor_word(c, verb, sizeof(verb))) {
		usage(w, "a verb is missing");
		return;
	}
	bool is_text = strcmp(verb, "say") == 0 || strcmp(verb, "hear") == 0;
	bool is_handshake = strcmp(verb, "handshake") == 0 || strcmp(verb, "established") == 0;
	if (is_text && !parse_text(c, text, 8192, &n)) {
		usage(w, c->why);
		return;
	}
	if (!is_text && !is_handshake && cursor_word(c, v, sizeof(v)) && !parse_num(v, &num)) {
		usage(w, "a number was expected");
		return;
	}
	text[n] = 0;
	uint32_t result = 0;
	bool is_counted = false;
	if (is_handshake) {
		macro_handshake(w, k, c);
		if (strcmp(verb, "established") == 0 && k->side == SIDE_C && !w->failed)
			macro_hear(w, k, "220");
	} else if (strcmp(verb, "say") == 0) {
		macro_say(w, k, text, n);
	} else if (strcmp(verb, "hear") == 0) {
		macro_hear(w, k, (const char *)text);
	} else if (strcmp(verb, "send") == 0) {
		macro_send(w, k, (uint32_t)num.lo);
	} else if (strcmp(verb, "fill") == 0) {
		result = macro_fill(w, k);
		is_counted = true;
	} else if (strcmp(verb, "drain") == 0) {
		result = macro_drain(w, k);
		is_counted = true;
	} else if (strcmp(verb, "window") == 0) {
		result = k->their_edge - k->snd_nxt;
		is_counted = true;
	} else if (strcmp(verb, "rebase") == 0) {
		conn_rebase(k);
	} else if (strcmp(verb, "rest") == 0) {
		while (conn_head(k) != NULL)
			conn_pop(k);
	} else if (strcmp(verb, "reuse") == 0) {
		reuse(k, (uint32_t)num.lo);
	} else {
		world_fail(w, "unknown verb %s", verb);
	}
	if (!w->failed && is_counted && !num_matches(&num, result))
		world_fail(w, "%s: %u", verb, result);
	w->event_us = w->now_us;
}

static const char *
gauge(struct world *w, const char *name, uint64_t *v)
{
	const struct counters *c = &w->counters;

	if (strcmp(name, "connections_open") == 0)
		*v = c->connections_open;
	else if (strcmp(name, "sessions_open") == 0)
		*v = c->sessions_open;
	else if (strcmp(name, "chunks_used") == 0)
		*v = c->chunks_used;
	else
		return NULL;
	return name;
}

static void
do_counter(struct world *w, struct cursor *c)
{
	char name[64], num[32];
	struct pkt_num want;
	uint64_t v = 0;

	if (!cursor_word(c, name, sizeof(name)) || !cursor_word(c, num, sizeof(num)) ||
	    !parse_num(num, &want)) {
		usage(w, "counter NAME N");
		return;
	}
	world_settle(w);
	if (gauge(w, name, &v) == NULL) {
		uint32_t i = 0;
		while (i < COUNTER_COUNT && strcasecmp(counter_name(i), name) != 0)
			i++;
		if (i == COUNTER_COUNT) {
			world_fail(w, "no counter %s", name);
			return;
		}
		v = w->counters.v[i] - w->counters_start.v[i];
	}
	if (!num_matches(&want, (int64_t)v))
		world_fail(w, "%s is %llu, expected %s", name, (unsigned long long)v, num);
}

// C, B, C1 .. B7; NULL: none of them.
static struct pkt_conn *
conn_name(struct world *w, const char *s)
{
	uint32_t side = s[0] == 'B';

	if ((s[0] != 'C' && s[0] != 'B') || (s[1] != 0 && s[2] != 0))
		return NULL;
	if (s[1] == 0)
		return &w->conn[side][0];
	return s[1] >= '1' && s[1] < '0' + (int)PKT_CONNS ? &w->conn[side][s[1] - '0'] : NULL;
}

static void
do_quiet(struct world *w, struct cursor *c)
{
	char t[32], name[8] = "", got[400];
	uint64_t us;
	struct pkt_conn *only = NULL;

	if (!cursor_word(c, t, sizeof(t)) || !parse_us(t, &us) ||
	    (cursor_word(c, name, sizeof(name)) && (only = conn_name(w, name)) == NULL)) {
		usage(w, "quiet SECONDS [C|B|C1..]");
		return;
	}
	world_pass(w, us);
	for (uint32_t i = 0; i < 2 * PKT_CONNS && !w->failed; i++) {
		struct pkt_conn *k = &w->conn[i / PKT_CONNS][i % PKT_CONNS];
		while (!w->is_exact && conn_head(k) != NULL && seg_is_bare(conn_head(k)))
			conn_pop(k);
		struct pkt_seg *g = conn_head(k);
		if (g == NULL || (only != NULL && only != k))
			continue;
		seg_text(k, g, got, sizeof(got));
		world_fail(w, "expected: silence; got: %c %s", "CB"[k->side], got);
	}
	w->event_us = w->now_us;
}

static bool
do_syn(struct world *w, struct cursor *c)
{
	uint32_t side = cursor_is(c, "B");
	char v[32];
	struct pkt_num n;

	if (!side && !cursor_is(c, "C"))
		return usage(w, "syn C|B <options> [win N]");
	if (cursor_peek(c) == '<' && !parse_options(c, &w->syn[side]))
		return usage(w, c->why);
	if (!cursor_is(c, "win"))
		return true;
	if (!cursor_word(c, v, sizeof(v)) || !parse_num(v, &n))
		return usage(w, "win N");
	w->syn_win[side] = (uint32_t)n.lo;
	return true;
}

static bool
do_arp(struct world *w, struct cursor *c)
{
	uint32_t side = cursor_is(c, "B");
	bool is_side = side || cursor_is(c, "C");

	w->arp_on[side] = cursor_is(c, "on");
	if (!is_side || (!w->arp_on[side] && !cursor_is(c, "off")))
		world_fail(w, "arp C|B on|off");
	return true;
}

static bool
do_rtt(struct world *w, struct cursor *c)
{
	uint32_t side = cursor_is(c, "B");
	char t[32];

	if ((!side && !cursor_is(c, "C")) || !cursor_word(c, t, sizeof(t)) ||
	    !parse_us(t, &w->rtt_us[side]))
		world_fail(w, "rtt C|B SECONDS");
	return true;
}

static bool
do_vlan(struct world *w, struct cursor *c)
{
	uint32_t side = cursor_is(c, "B");
	char t[32];
	struct pkt_num n = {0};

	if ((!side && !cursor_is(c, "C")) || !cursor_word(c, t, sizeof(t)) || !parse_num(t, &n) ||
	    n.lo < 1 || n.lo > 4094 || w->is_open)
		world_fail(w, "vlan C|B TAG, before everything else");
	w->vlan[side] = (uint16_t)n.lo;
	return true;
}

// What is said before the worker opens. False: it is none of that.
static bool
do_setting(struct world *w, struct cursor *c)
{
	if (cursor_is(c, "ipv6")) {
		w->is_ipv6 = true;
		return true;
	}
	if (cursor_is(c, "arp"))
		return do_arp(w, c);
	if (cursor_is(c, "rtt"))
		return do_rtt(w, c);
	if (cursor_is(c, "vlan"))
		return do_vlan(w, c);
	if (!cursor_is(c, "policy"))
		return false;
	if (w->is_open)
		world_fail(w, "policy comes before everything else");
	else if (!testpolicy_line(w->tp, span_str(c->p)))
		world_fail(w, "policy: an unknown key or a wrong value");
	c->p += strlen(c->p);
	return true;
}

// +T, +A~B, +~B before an event. A number without `~` is exact.
static bool
read_time(struct cursor *c, uint64_t *from, uint64_t *to, bool *is_given)
{
	char t[64];

	*from = *to = 0;
	*is_given = cursor_peek(c) == '+';
	if (!*is_given)
		return true;
	(void)cursor_word(c, t, sizeof(t));
	char *tilde = strchr(t, '~');
	if (tilde == NULL) {
		*to = 0;
		bool ok = parse_us(t + 1, from);
		*to = *from;
		return ok;
	}
	*tilde = 0;
	return (tilde == t + 1 || parse_us(t + 1, from)) && parse_us(tilde + 1, to) && *from <= *to;
}

static void
do_conn_line(struct world *w, struct cursor *c)
{
	uint64_t from, to;
	bool is_timed;
	char name[16];

	if (!read_time(c, &from, &to, &is_timed)) {
		usage(w, "a wrong time: +T, +A~B or +~B");
		return;
	}
	if (!cursor_word(c, name, sizeof(name))) {
		usage(w, "a time and nothing behind it");
		return;
	}
	size_t n = strlen(name);
	char way = name[n - 1];
	if (way == '<' || way == '>')
		name[n - 1] = 0;
	struct pkt_conn *k = conn_name(w, name);
	if (k == NULL) {
		world_fail(w, "unknown word %s", name);
		return;
	}
	if (way == '>' && !cursor_is(c, "icmp")) {
		do_expect(w, k, c, from, to);
	} else if (way == '>') {
		do_expect_icmp(w, k, c);
	} else {
		if (from > 0)
			world_pass(w, w->event_us + from > w->now_us
					      ? w->event_us + from - w->now_us
					      : 0);
		if (way == '<')
			do_in(w, k, c);
		else
			do_verb(w, k, c);
	}
}

static void
do_line(struct world *w, char *line)
{
	struct cursor c = {.p = line};
	char word[32];
	uint64_t us;
	bool is_flood = false;

	if (cursor_at_end(&c) || do_setting(w, &c))
		return;
	if (!w->is_open && !world_open(w))
		return;
	world_settle(w);
	if (cursor_is(&c, "exact")) {
		w->is_exact = true;
	} else if (cursor_is(&c, "loose")) {
		w->is_exact = false;
	} else if (cursor_is(&c, "syn")) {
		(void)do_syn(w, &c);
	} else if (cursor_is(&c, "counter")) {
		do_counter(w, &c);
	} else if (cursor_is(&c, "quiet")) {
		do_quiet(w, &c);
	} else if (cursor_is(&c, "relay")) {
		if (!cursor_word(&c, word, sizeof(word)) ||
		    (strcmp(word, "rcpt") != 0 && strcmp(word, "open") != 0 &&
		     strcmp(word, "stream") != 0 && strcmp(word, "finish") != 0))
			usage(w, "relay rcpt|open|stream|finish");
		else
			macro_relay(w, word);
		w->event_us = w->now_us;
	} else if (cursor_is(&c, "bulk") || (is_flood = cursor_is(&c, "flood"))) {
		struct pkt_num n;
		if (!cursor_word(&c, word, sizeof(word)) || !parse_num(word, &n))
			usage(w, "bulk BYTES, flood SYNS");
		else if (is_flood)
			macro_flood(w, (uint32_t)n.lo);
		else
			macro_bulk(w, (uint32_t)n.lo);
		w->event_us = w->now_us;
	} else if (cursor_is(&c, "wait")) {
		if (!cursor_word(&c, word, sizeof(word)) || !parse_us(word, &us)) {
			usage(w, "wait SECONDS");
		} else {
			world_pass(w, us);
			w->event_us = w->now_us;
		}
	} else {
		do_conn_line(w, &c);
	}
	if (!w->failed && !cursor_at_end(&c))
		world_fail(w, "unknown words at the end: %s", c.p);
}

// --- scripts ---

static void
check_rest(struct world *w)
{
	char got[400];

	world_settle(w);
	for (uint32_t i = 0; i < 2 * PKT_CONNS && !w->failed; i++) {
		struct pkt_conn *k = &w->conn[i / PKT_CONNS][i % PKT_CONNS];
		for (; conn_head(k) != NULL && !w->failed; conn_pop(k)) {
			struct pkt_seg *g = conn_head(k);
			if (!w->is_exact && seg_is_bare(g))
				continue;
			seg_text(k, g, got, sizeof(got));
			world_fail(w, "expected: the end; got: %c %s", "CB"[k->side], got);
		}
	}
}

static struct world *
world_new(const char *file, bool is_verbose)
{
	static const char *const base[] = {"machine.chunks 4096",
					   "machine.sessions_max 64",
					   "machine.scans_max 16",
					   "timeouts.probe_s 3600",
					   "limits.hold_bytes_max 0",
					   "server.received_header false",
					   "server.result_header false",
					   "server.hostname mx.example.net",
					   "limits.message_bytes_max 16777216"};
	struct world *w = calloc(1, sizeof(*w));

	CHECK(w != NULL);
	w->file = file;
	w->verbose = is_verbose;
	w->tp = testpolicy_open();
	for (uint32_t i = 0; i < ARRAY_LEN(base); i++)
		CHECK(testpolicy_line(w->tp, span_str(base[i])));
	for (uint32_t i = 0; i < 2; i++) {
		struct cursor c = {.p = "<mss 1000,sackOK>"};
		CHECK(parse_options(&c, &w->syn[i]));
		w->syn_win[i] = 65535;
		w->arp_on[i] = true;
	}
	return w;
}

// Returns false with the reason in `why` when the script failed.
static bool
play(const char *file, bool is_verbose, char *why, uint32_t why_size, char *fails, bool is_shown)
{
	char line[LINE_MAX];
	FILE *f = fopen(file, "r");

	fails[0] = 0;
	if (f == NULL) {
		(void)snprintf(why, why_size, "%s: cannot be read", file);
		return false;
	}
	struct world *w = world_new(file, is_verbose);
	while (!w->failed && fgets(line, sizeof(line), f) != NULL) {
		w->line++;
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "# fails: ", 9) == 0)
			(void)snprintf(fails, 200, "%.199s", line + 9);
		if (is_verbose)
			printf("%s\n", line);
		do_line(w, line);
	}
	(void)fclose(f);
	if (!w->failed && !w->is_open)
		world_fail(w, "the script does nothing");
	if (!w->failed)
		check_rest(w);
	bool ok = !w->failed;
	if (!ok)
		(void)snprintf(why, why_size, "%s:%u: %s", file, w->line, w->why);
	if (!ok && is_shown && !is_verbose)
		for (uint32_t i = w->trace_count > TRACE_SHOWN ? w->trace_count - TRACE_SHOWN : 0;
		     i < w->trace_count; i++)
			printf("    %s\n", w->trace[i]);
	world_close(w);
	free(w);
	return ok;
}

// One script; returns whether it did what it has to, and says so.
static bool
run_one(const char *file, bool is_verbose, bool must_fail)
{
	char why[1600] = "", fails[200];
	bool ok = play(file, is_verbose, why, sizeof(why), fails, !must_fail);

	if (must_fail && ok)
		(void)snprintf(why, sizeof(why), "%s passed, but has to fail", file);
	if (must_fail)
		ok = !ok && fails[0] != 0 && strstr(why, fails) != NULL;
	if (ok)
		printf("ok - %s\n", file);
	else
		printf("not ok - %s\n    %s\n", file, why);
	(void)fflush(stdout);
	return ok;
}

// In a process of its own: a CHECK of the appliance that fails costs one script, not all.
static bool
run_apart(const char *file, bool is_verbose, bool must_fail)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		exit(!run_one(file, is_verbose,
			      must_fail)); // not _exit: leaks are looked for there
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		printf("not ok - %s\n    no process for it\n", file);
		return false;
	}
	if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1)
		printf("not ok - %s\n    it ended by signal %d, status %d: -v shows how far it "
		       "got\n",
		       file, WIFSIGNALED(status) ? WTERMSIG(status) : 0, WEXITSTATUS(status));
	return status == 0;
}

int
main(int argc, char **argv)
{
	uint32_t passed = 0, failed = 0;
	bool is_verbose = false, must_fail = false;
	int i = 1;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "-v") == 0)
			is_verbose = true;
		else if (strcmp(argv[i], "-x") == 0)
			must_fail = true;
		else
			break;
	}
	if (i == argc || argv[i][0] == '-') {
		(void)fprintf(stderr, "usage: pkt_run [-v] [-x] FILE..\n");
		return 2;
	}
	for (; i < argc; i++) {
		if (run_apart(argv[i], is_verbose, must_fail))
			passed++;
		else
			failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
