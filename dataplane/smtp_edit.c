// SPDX-License-Identifier: Apache-2.0
// The header lines that Postern puts first into a message: canonical lines, printable ASCII, CRLF
// at the end of each, so that "insert, then parse" finds the same message behind them. Runs on the
// owning worker.

#include <string.h>

#include "dataplane/smtp_session.h"

#define EDIT_HELO_MAX 200 // of the client's word, so that a line stays below 998 bytes

struct edit_date {
	uint32_t year, month, day, hour, minute, second, weekday; // month 1..12, weekday 0 = Sunday
};

// Unix time to civil UTC (days counted from 0000-03-01, so that the leap day is a year's last).
static struct edit_date
date_of(uint64_t unix_s)
{
	uint64_t days = unix_s / 86400 + 719468;
	uint32_t rest = (uint32_t)(unix_s % 86400);
	uint64_t era = days / 146097;
	uint32_t doe = (uint32_t)(days % 146097);
	uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	uint32_t mp = (5 * doy + 2) / 153;
	struct edit_date d;
	d.day = doy - (153 * mp + 2) / 5 + 1;
	d.month = mp < 10 ? mp + 3 : mp - 9;
	d.year = (uint32_t)(era * 400 + yoe) + (d.month <= 2 ? 1 : 0);
	d.hour = rest / 3600;
	d.minute = rest / 60 % 60;
	d.second = rest % 60;
	d.weekday = (uint32_t)((unix_s / 86400 + 4) % 7);
	return d;
}

static void
date_add(struct strbuf *out, uint64_t unix_s)
{
	static const char names[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct edit_date d = date_of(unix_s);
	CHECK(d.weekday < 7);
	CHECK(d.month >= 1 && d.month <= 12);
	strbuf_add(out, span_of(names + d.weekday * 3, 3));
	strbuf_add_str(out, ", ");
	strbuf_add_u64(out, d.day);
	strbuf_add_char(out, ' ');
	strbuf_add(out, span_of(months + (d.month - 1) * 3, 3));
	strbuf_add_char(out, ' ');
	strbuf_add_padded(out, d.year, 4);
	strbuf_add_char(out, ' ');
	strbuf_add_padded(out, d.hour, 2);
	strbuf_add_char(out, ':');
	strbuf_add_padded(out, d.minute, 2);
	strbuf_add_char(out, ':');
	strbuf_add_padded(out, d.second, 2);
	strbuf_add_str(out, " +0000");
}

// The transaction's name: the session's and which of its transactions it is.
static void
id_add(struct strbuf *out, const struct smtp_session *s)
{
	strbuf_add_hex64(out, s->ev.id);
	strbuf_add_char(out, '.');
	strbuf_add_u64(out, s->tx_count);
}

// The client's own word in a header: no specials of RFC 5322, so it can neither open a comment nor
// a string.
static void
helo_add(struct strbuf *out, struct span helo)
{
	helo = span_sub(helo, 0, EDIT_HELO_MAX);
	for (uint32_t i = 0; i < helo.n; i++) {
		uint8_t c = helo.p[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			  (c >= '0' && c <= '9') || (c != 0 && strchr(".-_:[]", c) != NULL);
		strbuf_add_char(out, ok ? (char)c : 'x');
	}
}

// A message may begin with a line that looks like the continuation of a field. Right behind our own
// it would be one, and the client could write into what we say. A field that says nothing takes it
// up.
static bool
begins_folded(const struct smtp_tx *tx)
{
	struct span head = chunkq_head(&tx->body);
	return head.n > 0 && (head.p[0] == ' ' || head.p[0] == '\t');
}

void
smtp_edit_build(const struct smtp_tx *tx, const char *scl, const char *action, struct strbuf *out,
		struct strbuf *named)
{
	const struct smtp_session *s = tx->session;
	CHECK(tx->policy != NULL);
	const struct policy_settings *set = tx->policy->view.settings;
	if (set->server_received_header) {
		strbuf_add_str(out, "Received: from ");
		helo_add(out, s->ev.helo);
		strbuf_add_str(out, " ([");
		if (!ipaddr_is_v4(&s->ev.client))
			strbuf_add_str(out, "IPv6:");
		ipaddr_format(out, &s->ev.client);
		strbuf_add_str(out, "])\r\n\tby ");
		strbuf_add(out, policy_text(&tx->policy->view, set->server_hostname));
		strbuf_add_str(out, s->ev.esmtp ? " with ESMTP\r\n\tid " : " with SMTP\r\n\tid ");
		id_add(out, s);
		strbuf_add_str(out, ";\r\n\t");
		date_add(out, s->smtp->wall_us / 1000000);
		strbuf_add_str(out, "\r\n");
		strbuf_add_str(named, "added Received");
	}
	if (set->server_result_header) {
		strbuf_add_str(out, "X-Postern-Result: scl=");
		strbuf_add_str(out, scl);
		strbuf_add_str(out, "; action=");
		strbuf_add_str(out, action);
		if (tx->ev.sender_is_blocked)
			strbuf_add_str(out, "; sender=blocked");
		strbuf_add_str(out, "; session=");
		id_add(out, s);
		strbuf_add_str(out, "\r\n");
		strbuf_add_str(named,
			       named->len > 0 ? ", X-Postern-Result" : "added X-Postern-Result");
	}
	if (out->len > 0 && begins_folded(tx)) {
		strbuf_add_str(out, "X-Postern-Stray:\r\n");
		strbuf_add_str(named, ", X-Postern-Stray");
	}
	CHECK(!out->truncated);
}
