// SPDX-License-Identifier: Apache-2.0
// config_value: checks of single values. See config_value.h.
#include "control/config_value.h"

#include <stdio.h>

bool
value_bool(struct span s, bool *out)
{
	static const struct {
		struct span word;
		bool value;
	} words[] = {{SPAN_LIT("true"), true}, {SPAN_LIT("false"), false},
		     {SPAN_LIT("yes"), true},  {SPAN_LIT("no"), false},
		     {SPAN_LIT("on"), true},   {SPAN_LIT("off"), false}};

	CHECK(out != NULL);
	for (uint32_t i = 0; i < ARRAY_LEN(words); i++) {
		if (span_eq_nocase(s, words[i].word)) {
			*out = words[i].value;
			return true;
		}
	}
	return false;
}

enum value_number
value_u32(struct span s, uint32_t min, uint32_t max, bool bytes, uint32_t *out)
{
	uint64_t v, unit = 1;

	CHECK(out != NULL);
	CHECK(min <= max);
	if (bytes && s.n > 1 && ascii_lower(s.p[s.n - 1]) == 'k')
		unit = 1024;
	else if (bytes && s.n > 1 && s.p[s.n - 1] == 'M')
		unit = 1048576;
	if (unit > 1)
		s.n--;
	// 010 is eight to YAML 1.1 and ten to a reader of it.
	if (s.n == 0 || (s.n > 1 && s.p[0] == '0'))
		return VALUE_NUMBER_BAD;
	if (!span_u64(s, UINT32_MAX, &v)) {
		for (uint32_t i = 0; i < s.n; i++) {
			if (s.p[i] < '0' || s.p[i] > '9')
				return VALUE_NUMBER_BAD;
		}
		return VALUE_NUMBER_LARGE;
	}
	v *= unit;
	if (v < min)
		return VALUE_NUMBER_SMALL;
	if (v > max)
		return VALUE_NUMBER_LARGE;
	*out = (uint32_t)v;
	return VALUE_NUMBER_OK;
}

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(uint8_t c)
{
	c = ascii_lower(c);
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool
is_label(struct span s)
{
	if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (uint32_t i = 0; i < s.n; i++) {
		if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	}
	return true;
}

bool
value_is_domain(struct span s)
{
	if (s.n == 0 || s.n > VALUE_DOMAIN_MAX)
		return false;
	bool digits_only = true;
	for (uint32_t labels = 0; labels < VALUE_DOMAIN_MAX; labels++) {
		int64_t dot = span_find(s, '.');
		struct span label = dot < 0 ? s : span_sub(s, 0, (uint32_t)dot);
		if (!is_label(label))
			return false;
		digits_only = true;
		for (uint32_t i = 0; i < label.n; i++)
			digits_only = digits_only && is_digit(label.p[i]);
		if (dot < 0)
			break;
		s = span_from(s, (uint32_t)dot + 1);
	}
	return !digits_only; // a last label of digits is an address
}

bool
value_is_printable(struct span s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	}
	return true;
}

bool
value_has_control(struct span s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	}
	return false;
}

bool
value_is_mailbox(struct span s)
{
	int64_t at = span_rfind(s, '@');

	if (at <= 0 || at > VALUE_LOCAL_MAX || !value_is_printable(s))
		return false;
	struct span local = span_sub(s, 0, (uint32_t)at);
	bool is_quoted = local.n >= 2 && local.p[0] == '"' && local.p[local.n - 1] == '"';
	for (uint32_t i = 0; i < local.n && !is_quoted; i++) {
		if (span_find(SPAN_LIT(" \"(),:;<>@[\\]"), local.p[i]) >= 0)
			return false;
	}
	return value_is_domain(span_from(s, (uint32_t)at + 1));
}

// "0000:03:00.0" or "03:00.0".
static bool
is_pci(struct span s)
{
	static const char form[] = "xxxx:xx:xx.d";
	uint32_t skip = s.n == sizeof(form) - 1 ? 0 : 5;

	if (s.n + skip != sizeof(form) - 1)
		return false;
	for (uint32_t i = 0; i < s.n; i++) {
		uint8_t c = ascii_lower(s.p[i]);
		char want = form[i + skip];
		bool ok = want == 'x'   ? is_digit(c) || (c >= 'a' && c <= 'f')
			  : want == 'd' ? c >= '0' && c <= '7'
					: c == (uint8_t)want;
		if (!ok)
			return false;
	}
	return true;
}

bool
value_is_device(struct span s)
{
	if (is_pci(s))
		return true;
	return s.n > 4 && span_starts_nocase(s, SPAN_LIT("net_")) && value_is_printable(s) &&
	       span_find(s, ' ') < 0;
}

// Without the domain that most machines have only one of, in lower case.
static struct span
pci_short(struct span s)
{
	return span_starts_nocase(s, SPAN_LIT("0000:")) ? span_from(s, 5) : s;
}

bool
value_device_is_same(struct span a, struct span b)
{
	if (is_pci(a) && is_pci(b))
		return span_eq_nocase(pci_short(a), pci_short(b));
	return span_eq(a, b);
}

bool
value_device_clashes(struct span a, struct span b)
{
	int64_t a_end = span_find(a, ','), b_end = span_find(b, ',');
	struct span a_name = a_end < 0 ? a : span_sub(a, 0, (uint32_t)a_end);
	struct span b_name = b_end < 0 ? b : span_sub(b, 0, (uint32_t)b_end);

	return !value_device_is_same(a, b) && span_eq(a_name, b_name);
}

struct span
value_device_iface(struct span s)
{
	const struct span key = SPAN_LIT("iface=");

	for (int64_t comma; (comma = span_find(s, ',')) >= 0;) { // each takes some of it off
		s = span_from(s, (uint32_t)comma + 1);
		int64_t end = span_find(s, ',');
		struct span arg = end < 0 ? s : span_sub(s, 0, (uint32_t)end);
		if (arg.n > key.n && span_eq(span_sub(arg, 0, key.n), key))
			return span_from(arg, key.n);
	}
	return SPAN_NONE;
}

static bool
is_token(struct span s)
{
	for (uint32_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		if (c <= 0x20 || c > 0x7e || span_find(SPAN_LIT("()<>@,;:\\\"/[]?=*"), c) >= 0)
			return false;
	}
	return s.n > 0;
}

bool
value_is_content_type(struct span s)
{
	int64_t slash = span_find(s, '/');

	return slash > 0 && is_token(span_sub(s, 0, (uint32_t)slash)) &&
	       is_token(span_from(s, (uint32_t)slash + 1));
}

// Reads `n` digits at *s and moves it on.
static bool
digits_take(struct span *s, uint32_t n, uint32_t max, uint32_t *out)
{
	uint64_t v;

	if (s->n < n || !span_u64(span_sub(*s, 0, n), max, &v))
		return false;
	*out = (uint32_t)v;
	*s = span_from(*s, n);
	return true;
}

static bool
char_take(struct span *s, uint8_t c)
{
	if (s->n == 0 || ascii_lower(s->p[0]) != c)
		return false;
	*s = span_from(*s, 1);
	return true;
}

// Days since 1970-01-01 of the proleptic Gregorian calendar; the year begins in March here, so that
// the leap day is its last.
static int64_t
days_from_date(uint32_t y, uint32_t m, uint32_t d)
{
	uint32_t year = m <= 2 ? y - 1 : y, month = (m + 9) % 12;

	return (int64_t)year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 +
	       d - 1 - 719468;
}

static bool
date_take(struct span *s, int64_t *days)
{
	static const uint8_t length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	uint32_t y, m, d;

	if (!digits_take(s, 4, 9999, &y) || !char_take(s, '-') || !digits_take(s, 2, 12, &m) ||
	    !char_take(s, '-') || !digits_take(s, 2, 31, &d) || y < 1970 || m == 0 || d == 0)
		return false;
	bool is_leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	if (d > length[m - 1] + (uint32_t)(m == 2 && is_leap))
		return false;
	*days = days_from_date(y, m, d);
	return true;
}

bool
value_time(struct span s, uint64_t *out)
{
	uint32_t hour, minute, second, zone_hour, zone_minute;
	int64_t days, t;

	CHECK(out != NULL);
	if (!date_take(&s, &days))
		return false;
	t = days * 86400;
	if (s.n > 0) {
		if ((!char_take(&s, 't') && !char_take(&s, ' ')) ||
		    !digits_take(&s, 2, 23, &hour) || !char_take(&s, ':') ||
		    !digits_take(&s, 2, 59, &minute) || !char_take(&s, ':') ||
		    !digits_take(&s, 2, 59, &second))
			return false;
		t += hour * 3600 + minute * 60 + second;
		bool is_west = s.n > 0 && s.p[0] == '-';
		if (!char_take(&s, 'z')) {
			if ((!char_take(&s, '+') && !char_take(&s, '-')) ||
			    !digits_take(&s, 2, 23, &zone_hour) || !char_take(&s, ':') ||
			    !digits_take(&s, 2, 59, &zone_minute))
				return false;
			int64_t zone = zone_hour * 3600 + zone_minute * 60;
			t += is_west ? zone : -zone;
		}
	}
	if (s.n != 0 || t <= 0) // 0 means "never" everywhere else
		return false;
	*out = (uint64_t)t;
	return true;
}

const char *
value_prefix(struct span s, struct ipprefix *out, struct strbuf *fixed)
{
	uint64_t bits;

	CHECK(out != NULL);
	CHECK(fixed != NULL);
	if (ipprefix_parse(s, out))
		return NULL;
	int64_t slash = span_find(s, '/');
	struct ipaddr a;
	if (slash < 0 || !ipaddr_parse(span_sub(s, 0, (uint32_t)slash), &a))
		return "is not an IP address or prefix";
	uint32_t most = ipaddr_is_v4(&a) ? 32 : 128;
	if (!span_u64(span_from(s, (uint32_t)slash + 1), most, &bits))
		return "has a wrong prefix length";
	uint8_t wide = (uint8_t)(bits + 128 - most);
	struct ipprefix p = {.addr = ipaddr_mask(&a, wide), .bits = wide};
	ipprefix_format(fixed, &p);
	return "has bits set beyond its length";
}

const char *
value_gateway(struct span s, struct ipaddr *out)
{
	CHECK(out != NULL);
	if (!ipaddr_parse(s, out))
		return "is not an IP address";
	if (ipaddr_is_v4(out) && span_find(s, ':') >= 0)
		return "is an IPv4 address in IPv6's form; write it as 192.0.2.10";
	return ipaddr_is_unicast(out) ? NULL : "is not an address of one station";
}

const char *
value_host(struct span s, struct ipaddr *out)
{
	const char *why = value_gateway(s, out);

	if (why == NULL && ipaddr_is_link_local(out))
		return "is a link-local address: it is on every port and so on none";
	return why;
}

// The first and, of IPv4, the last address of a network are not a station's: the network itself
// (all of its routers: RFC 4291 2.6.1) and everybody. Networks of two (RFC 3021, 6164) or one have
// neither.
const char *
value_interface_edge(const struct ipaddr *a, uint32_t bits)
{
	struct ipaddr first = ipaddr_mask(a, (uint8_t)bits), last = first;

	if (bits > 126)
		return NULL;
	if (ipaddr_eq(a, &first))
		return "is the network's own address";
	for (uint32_t i = bits; i < 128; i++)
		last.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	if (ipaddr_is_v4(a) && ipaddr_eq(a, &last))
		return "is the broadcast address of its network";
	return NULL;
}

const char *
value_interface(struct span s, struct ipaddr *out, uint32_t *bits)
{
	int64_t slash = span_find(s, '/');
	uint64_t n;

	CHECK(bits != NULL);
	const char *why = value_gateway(slash < 0 ? s : span_sub(s, 0, (uint32_t)slash), out);
	if (why != NULL)
		return why;
	if (ipaddr_is_link_local(out))
		return "is a link-local address: every port makes its own";
	bool is_v4 = ipaddr_is_v4(out);
	if (slash < 0)
		return is_v4 ? "needs a prefix length, as in 192.0.2.10/24"
			     : "needs a prefix length, as in 2001:db8::10/64";
	if (!span_u64(span_from(s, (uint32_t)slash + 1), is_v4 ? 32 : 128, &n) || n == 0)
		return "has a wrong prefix length";
	*bits = (uint32_t)n + (is_v4 ? 96 : 0);
	return value_interface_edge(out, *bits);
}
