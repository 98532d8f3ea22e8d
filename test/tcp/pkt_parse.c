// SPDX-License-Identifier: Apache-2.0
// pkt_parse: the words of a script line. Each function says in c->why what it did not understand.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/tcp/pkt.h"

static void
skip(struct cursor *c)
{
	while (*c->p == ' ' || *c->p == '\t')
		c->p++;
	if (*c->p == '#')
		c->p += strlen(c->p);
}

bool
cursor_at_end(struct cursor *c)
{
	skip(c);
	return *c->p == 0;
}

char
cursor_peek(struct cursor *c)
{
	skip(c);
	return *c->p;
}

bool
cursor_word(struct cursor *c, char *out, uint32_t size)
{
	uint32_t n = 0;

	skip(c);
	while (*c->p != 0 && *c->p != ' ' && *c->p != '\t' && n + 1 < size)
		out[n++] = *c->p++;
	out[n] = 0;
	return n > 0;
}

bool
cursor_is(struct cursor *c, const char *word)
{
	size_t n = strlen(word);

	skip(c);
	if (strncmp(c->p, word, n) != 0 || (c->p[n] != 0 && c->p[n] != ' ' && c->p[n] != '\t'))
		return false;
	c->p += n;
	return true;
}

static bool
integer(const char *s, const char **end, int64_t *out)
{
	char *e;

	if (!isdigit((unsigned char)s[0]) && !(s[0] == '-' && isdigit((unsigned char)s[1])))
		return false;
	*out = strtoll(s, &e, 10);
	*end = e;
	return true;
}

bool
parse_num(const char *s, struct pkt_num *n)
{
	const char *e = s;

	*n = (struct pkt_num){.lo = INT64_MIN, .hi = INT64_MAX};
	if (s[0] == '*') {
		n->is_any = true;
		n->lo = 0;
		if (s[1] == 0)
			return true;
		e = s + 1 + (s[1] == '+');
		return integer(e, &e, &n->lo) && *e == 0;
	}
	if (strncmp(s, ">=", 2) == 0)
		return integer(s + 2, &e, &n->lo) && *e == 0;
	if (strncmp(s, "<=", 2) == 0)
		return integer(s + 2, &e, &n->hi) && *e == 0;
	if (!integer(s, &e, &n->lo))
		return false;
	n->hi = n->lo;
	if (strncmp(e, "..", 2) == 0)
		return integer(e + 2, &e, &n->hi) && *e == 0;
	return *e == 0;
}

bool
num_matches(const struct pkt_num *n, int64_t v)
{
	return n->is_any || (n->lo <= v && v <= n->hi);
}

bool
parse_us(const char *s, uint64_t *us)
{
	char *e;
	double d;

	if (!isdigit((unsigned char)s[0]) && s[0] != '.')
		return false;
	d = strtod(s, &e);
	*us = (uint64_t)(d * 1e6 + 0.5);
	return *e == 0 && d < 1e7;
}

bool
parse_hex(const char *s, uint8_t *out, uint32_t size, uint32_t *n)
{
	*n = 0;
	for (; s[0] != 0 && s[1] != 0; s += 2) {
		char h[3] = {s[0], s[1], 0};
		if (*n == size || !isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
			return false;
		out[(*n)++] = (uint8_t)strtoul(h, NULL, 16);
	}
	return s[0] == 0;
}

// "..." with \r \n \t \\ \" \xHH and \*N c: the byte c N times.
bool
parse_text(struct cursor *c, uint8_t *out, uint32_t size, uint32_t *n)
{
	*n = 0;
	skip(c);
	c->why = "a text in quotes was expected";
	if (*c->p++ != '"')
		return false;
	while (*c->p != '"') {
		uint32_t times = 1;
		char ch = *c->p++;
		if (ch == 0) {
			c->why = "the text has no end";
			c->p--;
			return false;
		}
		if (ch == '\\') {
			ch = *c->p++;
			if (ch == 'r') {
				ch = '\r';
			} else if (ch == 'n') {
				ch = '\n';
			} else if (ch == 't') {
				ch = '\t';
			} else if (ch == 'x' && isxdigit((unsigned char)c->p[0]) &&
				   isxdigit((unsigned char)c->p[1])) {
				char h[3] = {c->p[0], c->p[1], 0};
				ch = (char)strtoul(h, NULL, 16);
				c->p += 2;
			} else if (ch == '*') {
				times = (uint32_t)strtoul(c->p, (char **)(uintptr_t)&c->p, 10);
				if (*c->p == ' ')
					c->p++;
				ch = *c->p++;
			} else if (ch != '\\' && ch != '"') {
				c->why = "an unknown escape";
				return false;
			}
		}
		if (times > size - *n) {
			c->why = "the text is too long";
			return false;
		}
		memset(out + *n, (uint8_t)ch, times);
		*n += times;
	}
	c->p++;
	return true;
}

static uint32_t
split(char *s, char **word, uint32_t most)
{
	uint32_t n = 0;

	for (char *save = NULL, *w = strtok_r(s, " ", &save); w != NULL && n < most;
	     w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	return n;
}

static bool
option_sack(struct pkt_optspec *o, char **w, uint32_t n)
{
	o->want |= OPT_SACK;
	for (uint32_t i = 1; i < n; i++) {
		char *colon = strchr(w[i], ':');
		if (colon == NULL || o->sack_count == 4)
			return false;
		*colon = 0;
		if (!parse_num(w[i], &o->sack[o->sack_count][0]) ||
		    !parse_num(colon + 1, &o->sack[o->sack_count][1]))
			return false;
		o->sack_count++;
	}
	return true; // none: any blocks
}

static bool
option(struct pkt_optspec *o, char *text)
{
	static const struct pkt_num any = {.is_any = true};
	char *w[8] = {NULL};
	uint32_t n = split(text, w, 8), bit = 0;
	bool is_ban = n > 0 && w[0][0] == '!';
	const char *name = n > 0 ? w[0] + is_ban : "";

	if (n == 0 || strcmp(name, "nop") == 0 || strcmp(name, "eol") == 0)
		return true;
	if (strcmp(name, "*") == 0) {
		o->is_open = true;
		return true;
	}
	if (strcmp(name, "raw") == 0)
		return n == 2 && parse_hex(w[1], o->raw, sizeof(o->raw), &o->raw_n);
	if (strcmp(name, "mss") == 0)
		bit = OPT_MSS;
	else if (strcmp(name, "wscale") == 0)
		bit = OPT_WSCALE;
	else if (strcmp(name, "sackOK") == 0)
		bit = OPT_SACK_OK;
	else if (strcmp(name, "ts") == 0)
		bit = OPT_TS;
	else if (strcmp(name, "sack") == 0)
		bit = OPT_SACK;
	if (is_ban) {
		o->ban |= bit;
		o->is_open = true;
		return bit != 0 && n == 1;
	}
	o->want |= bit;
	o->tsval = bit == OPT_TS ? any : o->tsval;
	o->tsecr = bit == OPT_TS ? any : o->tsecr;
	switch (bit) {
	case OPT_MSS:
		return n == 2 && parse_num(w[1], &o->mss);
	case OPT_WSCALE:
		return n == 2 && parse_num(w[1], &o->wscale);
	case OPT_SACK_OK:
		return n == 1;
	case OPT_TS:
		return n == 1 ||
		       (n == 3 && parse_num(w[1], &o->tsval) && parse_num(w[2], &o->tsecr));
	case OPT_SACK:
		return option_sack(o, w, n);
	default:
		return false;
	}
}

// <mss 1460,sackOK,ts 100 *,nop,wscale 7>: exactly these; with `*` others too; !x: not this one.
bool
parse_options(struct cursor *c, struct pkt_optspec *o)
{
	char text[512];
	skip(c);
	const char *end = c->p;

	while (*end != 0 && (*end != '>' || end[1] == '='))
		end++;
	c->why = "options are <name value,..>";
	if (*c->p != '<' || *end == 0 || (size_t)(end - c->p) >= sizeof(text))
		return false;
	memset(o, 0, sizeof(*o));
	o->is_given = true;
	(void)snprintf(text, sizeof(text), "%.*s", (int)(end - c->p - 1), c->p + 1);
	for (char *save = NULL, *w = strtok_r(text, ",", &save); w != NULL;
	     w = strtok_r(NULL, ",", &save))
		if (!option(o, w)) {
			c->why = "an unknown option, or a wrong value of one";
			return false;
		}
	c->p = end + 1;
	return true;
}

static bool
parse_flags(const char *s, struct pkt_segspec *g)
{
	static const char letters[] = "FSRP.UEW";

	if (strcmp(s, "*") == 0) {
		g->any_flags = true;
		return true;
	}
	if (strcmp(s, "-") == 0)
		return true;
	for (; *s != 0; s++) {
		const char *at = strchr(letters, *s);
		if (at == NULL || (g->flags & (1u << (at - letters))))
			return false;
		g->flags |= 1u << (at - letters);
	}
	return true;
}

// N, N(LEN), N:END(LEN) or *.
static bool
parse_range(char *s, struct pkt_segspec *g)
{
	char *paren = strchr(s, '('), *colon = strchr(s, ':');
	const char *e;

	g->has_seq = true;
	if (paren != NULL) {
		*paren = 0;
		g->has_len = true;
		if (!integer(paren + 1, &e, &g->len) || strcmp(e, ")") != 0 || g->len < 0)
			return false;
	}
	if (colon != NULL) {
		*colon = 0;
		g->has_end = true;
		if (!g->has_len || !integer(colon + 1, &e, &g->end) || *e != 0)
			return false;
	}
	if (!parse_num(s, &g->seq))
		return false;
	return !g->has_end ||
	       (!g->seq.is_any && g->seq.lo == g->seq.hi && g->seq.lo + g->len == g->end);
}

static bool
parse_ipv4(const char *s, uint32_t *out)
{
	unsigned a, b, c, d;
	char rest;

	if (sscanf(s, "%u.%u.%u.%u%c", &a, &b, &c, &d, &rest) != 4 || (a | b | c | d) > 255)
		return false;
	*out = a << 24 | b << 16 | c << 8 | d;
	return true;
}

static bool
parse_mod(struct cursor *c, const char *w, struct pkt_mods *m)
{
	struct {
		const char *name;
		int32_t *i;
		uint32_t *u;
	} row[] = {
		{"ttl", &m->ttl, NULL},     {"fragoff", &m->fragoff, NULL},
		{"doff", &m->doff, NULL},   {"iplen", &m->iplen, NULL},
		{"sport", &m->sport, NULL}, {"dport", &m->dport, NULL},
		{"proto", &m->proto, NULL}, {"vlan", &m->vlan, NULL},
		{"pad", NULL, &m->pad},     {"cut", NULL, &m->cut},
		{"urg", NULL, &m->urg},     {"reserved", NULL, &m->reserved},
		{"dscp", &m->dscp, NULL},
	};
	struct {
		const char *name;
		bool *b;
	} flag[] = {{"badsum", &m->bad_tcp_sum},
		    {"badipsum", &m->bad_ip_sum},
		    {"mf", &m->more_fragments},
		    {"nodf", &m->no_df}};
	char v[128];
	const char *e;
	int64_t n;

	for (uint32_t i = 0; i < ARRAY_LEN(flag); i++)
		if (strcmp(w, flag[i].name) == 0) {
			*flag[i].b = true;
			return true;
		}
	c->why = "a value is missing";
	if (!cursor_word(c, v, sizeof(v)))
		return false;
	c->why = "a wrong value";
	for (uint32_t i = 0; i < ARRAY_LEN(row); i++)
		if (strcmp(w, row[i].name) == 0) {
			if (!integer(v, &e, &n) || *e != 0 || n < 0 || n > 65535)
				return false;
			if (row[i].i != NULL)
				*row[i].i = (int32_t)n;
			else
				*row[i].u = (uint32_t)n;
			return true;
		}
	if (strcmp(w, "src") == 0)
		return parse_ipv4(v, &m->src);
	if (strcmp(w, "dst") == 0)
		return parse_ipv4(v, &m->dst);
	if (strcmp(w, "ipopt") == 0)
		return parse_hex(v, m->ipopt, sizeof(m->ipopt), &m->ipopt_n);
	c->why = "an unknown word";
	return false;
}

bool
parse_seg(struct cursor *c, struct pkt_segspec *s)
{
	char w[128];

	memset(s, 0, offsetof(struct pkt_segspec, text));
	s->times = 1;
	s->mod.ttl = s->mod.fragoff = s->mod.doff = s->mod.iplen = -1;
	s->mod.sport = s->mod.dport = s->mod.proto = s->mod.vlan = s->mod.dscp = -1;
	c->why = "flags were expected: of FSRPUEW and a dot, - for none, * for any";
	if (!cursor_word(c, w, sizeof(w)) || !parse_flags(w, s))
		return false;
	char p = cursor_peek(c);
	if (isdigit((unsigned char)p) || p == '*' || p == '-' || p == '>') {
		c->why = "a wrong sequence: N, N(LEN), N:END(LEN) or *";
		if (!cursor_word(c, w, sizeof(w)) || !parse_range(w, s))
			return false;
	}
	while (!cursor_at_end(c)) {
		p = cursor_peek(c);
		if (p == '<') {
			if (!parse_options(c, &s->opt))
				return false;
			continue;
		}
		if (p == '"') {
			s->has_text = true;
			if (!parse_text(c, s->text, sizeof(s->text), &s->text_n))
				return false;
			continue;
		}
		(void)cursor_word(c, w, sizeof(w));
		if (w[0] == 'x' && isdigit((unsigned char)w[1])) {
			s->times = (uint32_t)strtoul(w + 1, NULL, 10);
			continue;
		}
		bool is_ack = strcmp(w, "ack") == 0;
		if (!is_ack && strcmp(w, "win") != 0) {
			if (!parse_mod(c, w, &s->mod))
				return false;
			continue;
		}
		c->why = "a wrong number";
		if (!cursor_word(c, w, sizeof(w)) || !parse_num(w, is_ack ? &s->ack : &s->win))
			return false;
		if (is_ack)
			s->has_ack = true;
		else
			s->has_win = true;
	}
	c->why = "xN needs N(LEN), and N up to 1000";
	if (s->times != 1 && (s->times - 1 >= 1000 || !s->has_len || s->seq.lo != s->seq.hi))
		return false;
	c->why = "the text has another length";
	return !s->has_text || !s->has_len || s->len == (int64_t)s->text_n;
}

// TYPE CODE [mtu N] [quote SEQ] [short N] [len N] [src A] [rport N]
bool
parse_icmp(struct cursor *c, struct pkt_icmpspec *s)
{
	char w[64], v[64];
	const char *e;
	int64_t n;

	memset(s, 0, sizeof(*s));
	c->why = "icmp TYPE CODE";
	if (!cursor_word(c, w, sizeof(w)) || !integer(w, &e, &n) || *e != 0)
		return false;
	s->type = (int32_t)n;
	if (!cursor_word(c, w, sizeof(w)) || !integer(w, &e, &n) || *e != 0)
		return false;
	s->code = (int32_t)n;
	while (cursor_word(c, w, sizeof(w))) {
		c->why = "mtu N, quote SEQ, short N, len N, rport N or src ADDRESS";
		if (!cursor_word(c, v, sizeof(v)))
			return false;
		if (strcmp(w, "src") == 0) {
			if (!parse_ipv4(v, &s->src))
				return false;
			continue;
		}
		if (!integer(v, &e, &n) || *e != 0)
			return false;
		if (strcmp(w, "mtu") == 0)
			s->mtu = (uint32_t)n;
		else if (strcmp(w, "short") == 0)
			s->quote_n = (uint32_t)n;
		else if (strcmp(w, "len") == 0)
			s->len = (uint32_t)n;
		else if (strcmp(w, "rport") == 0)
			s->rport = (uint32_t)n;
		else if (strcmp(w, "quote") == 0) {
			s->has_quote = true;
			s->quote = n;
		} else {
			return false;
		}
	}
	return s->len <= 1400;
}
