// SPDX-License-Identifier: Apache-2.0
// log_line: formats one record as one line of JSON (log_writer.h). Pure: no I/O, no allocation.
//
// The texts come from SMTP clients, so any byte may be in them. jansson's own dumper would refuse
// what is not UTF-8; here such a byte becomes the escape of the Latin-1 character of that value,
// and the line stays valid JSON that shows where the byte was.
#include "control/log_writer.h"

#include <time.h>

#define SECONDS_MAX 253402300799ull // 9999-12-31T23:59:59Z

// Length of the well-formed UTF-8 sequence at s[i], 0 if there is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
static uint32_t
utf8_length(struct span s, uint32_t i)
{
	CHECK(i < s.n);
	uint8_t c = s.p[i];
	uint32_t need, low = 0x80, high = 0xbf;

	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf) {
		need = 2;
	} else if (c >= 0xe0 && c <= 0xef) {
		need = 3;
		low = c == 0xe0 ? 0xa0 : 0x80;
		high = c == 0xed ? 0x9f : 0xbf;
	} else if (c >= 0xf0 && c <= 0xf4) {
		need = 4;
		low = c == 0xf0 ? 0x90 : 0x80;
		high = c == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (s.n - i < need || s.p[i + 1] < low || s.p[i + 1] > high)
		return 0;
	for (uint32_t k = 2; k < need; k++) {
		if ((s.p[i + k] & 0xc0) != 0x80)
			return 0;
	}
	return need;
}

static void
add_escape(struct strbuf *b, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	char text[] = "\\u00xx";

	text[4] = hex[c >> 4];
	text[5] = hex[c & 15];
	strbuf_add_str(b, text);
}

// Bytes from s[i] on that stand in a JSON string as they are: printable ASCII but `"` and `\`.
static uint32_t
plain_run(struct span s, uint32_t i)
{
	uint32_t n = i;

	while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7f && s.p[n] != '"' && s.p[n] != '\\')
		n++;
	return n - i;
}

void
log_json_string(struct strbuf *b, struct span s)
{
	CHECK(b != NULL);
	strbuf_add_char(b, '"');
	for (uint32_t i = 0; i < s.n;) {
		uint32_t plain = plain_run(s, i);
		strbuf_add(b, span_sub(s, i, plain));
		i += plain;
		if (i == s.n)
			break;
		uint8_t c = s.p[i];
		uint32_t n = utf8_length(s, i);

		if (c == '"' || c == '\\') {
			strbuf_add_char(b, '\\');
			strbuf_add_char(b, (char)c);
		} else if (n == 0 || c < 0x20 || c == 0x7f) {
			add_escape(b, c);
		} else if (c == 0xc2 && s.p[i + 1] < 0xa0) {
			add_escape(b, s.p[i + 1]); // C1 controls: terminals act on some of them
		} else {
			strbuf_add(b, span_sub(s, i, n));
		}
		i += MAX(n, 1u);
	}
	strbuf_add_char(b, '"');
}

void
log_time_format(struct strbuf *b, uint64_t time_us)
{
	time_t seconds = (time_t)MIN(time_us / 1000000, SECONDS_MAX);
	struct tm tm;

	CHECK(gmtime_r(&seconds, &tm) != NULL);
	strbuf_addf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", tm.tm_year + 1900, tm.tm_mon + 1,
		    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(time_us % 1000000));
}

void
log_endpoint_format(struct strbuf *b, const struct ipaddr *a, uint16_t port)
{
	static const struct ipaddr none;

	CHECK(b != NULL && a != NULL);
	if (ipaddr_eq(a, &none))
		return;
	bool bracket = !ipaddr_is_v4(a);
	if (bracket)
		strbuf_add_char(b, '[');
	ipaddr_format(b, a);
	strbuf_addf(b, "%s:%u", bracket ? "]" : "", (unsigned)port);
}

// The reply as the client saw it: its code in front, unless the text has it already.
static void
reply_format(struct strbuf *b, const struct logrec *r)
{
	struct span text = logrec_get(r, LOGREC_REPLY);
	char code[8];
	struct strbuf c;

	strbuf_init(&c, code, sizeof(code));
	strbuf_addf(&c, "%u", (unsigned)r->reply_code);
	bool has_code = text.n >= 3 && span_eq(span_sub(text, 0, 3), strbuf_span(&c));
	if (r->reply_code != 0 && !has_code) {
		strbuf_add(b, strbuf_span(&c));
		if (text.n > 0)
			strbuf_add_char(b, ' ');
	}
	strbuf_add(b, text);
}

static void
add_key(struct strbuf *b, const char *key, struct span value)
{
	strbuf_addf(b, ",\"%s\":", key);
	log_json_string(b, value);
}

static void
add_fields(struct strbuf *b, const struct logrec *r, enum logrec_field first,
	   enum logrec_field last)
{
	for (uint32_t f = first; f <= last; f++)
		add_key(b, logrec_field_name(f), logrec_get(r, f));
}

static void
add_cut(struct strbuf *b, const struct logrec *r)
{
	bool first = true;

	strbuf_add_str(b, ",\"cut\":[");
	for (uint32_t f = 0; f < LOGREC_FIELD_COUNT; f++) {
		if ((r->cut >> f & 1) == 0)
			continue;
		strbuf_addf(b, "%s\"%s\"", first ? "" : ",", logrec_field_name(f));
		first = false;
	}
	strbuf_add_char(b, ']');
}

void
log_line_format(struct strbuf *b, const struct logrec *r)
{
	static_assert(LOGREC_HELO == 0 && LOGREC_RCPT + 1 == LOGREC_RULE, "the order of the keys");
	char text[LOGREC_SIZE + 64];
	struct strbuf t;

	CHECK(b != NULL && r != NULL);
	strbuf_add_str(b, "{\"time\":\"");
	log_time_format(b, r->time_us);
	strbuf_addf(b, "\",\"session\":\"%016llx\"", (unsigned long long)r->session_id);
	strbuf_init(&t, text, sizeof(text));
	log_endpoint_format(&t, &r->client, r->client_port);
	add_key(b, "client", strbuf_span(&t));
	add_key(b, "direction", span_str(direction_name(r->direction)));
	add_fields(b, r, LOGREC_HELO, LOGREC_RCPT);
	add_key(b, "event", span_str(event_name(r->event)));
	add_key(b, "agent", r->agent == AGENT_NONE ? SPAN_NONE : span_str(agent_name(r->agent)));
	add_key(b, "action", span_str(action_name(r->action)));
	add_fields(b, r, LOGREC_RULE, LOGREC_EVIDENCE);
	strbuf_reset(&t);
	reply_format(&t, r);
	add_key(b, "reply", strbuf_span(&t));
	// Readers of JSON hold integers in 63 bits; only a damaged record has more.
	uint64_t bytes = MIN(r->bytes, (uint64_t)INT64_MAX);
	strbuf_addf(b, ",\"bytes\":%llu,\"us\":%u,\"worker\":%u", (unsigned long long)bytes, r->us,
		    (unsigned)r->worker);
	if (r->scl_plus_1 != 0)
		strbuf_addf(b, ",\"scl\":%u", (unsigned)r->scl_plus_1 - 1);
	if (r->reason != DISCONNECT_NONE)
		add_key(b, "reason", span_str(disconnect_name(r->reason)));
	if (r->cut != 0)
		add_cut(b, r);
	strbuf_add_str(b, "}\n");
}
