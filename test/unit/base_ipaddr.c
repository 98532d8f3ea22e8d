// SPDX-License-Identifier: Apache-2.0
// Tests of addresses and prefixes: what is read, what is refused, round trips, membership.
#include <criterion/criterion.h>
#include <string.h>

#include "control/base/bytes.h"
#include "control/base/ipaddr.h"
#include "control/base/rng.h"

static const char *
text_of(const struct ipaddr *a)
{
	static char mem[IPADDR_TEXT_SIZE];
	struct strbuf b;
	strbuf_init(&b, mem, sizeof(mem));
	ipaddr_format(&b, a);
	cr_assert(!b.truncated);
	return mem;
}

Test(ipaddr, good_ones)
{
	static const char *const rows[][2] = {
		{"192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"2001:db8::1", "2001:db8::1"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"::", "::"},
		{"::1", "::1"},
		{"::ffff:192.0.2.9", "192.0.2.9"},
		{"fe80:1:2:3:4:5:6:7", "fe80:1:2:3:4:5:6:7"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ipaddr a;
		cr_assert(ipaddr_parse(span_str(rows[i][0]), &a), "%s", rows[i][0]);
		cr_assert_str_eq(text_of(&a), rows[i][1]);
	}
}

Test(ipaddr, bad_ones)
{
	static const char *const rows[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"01.2.3.4",
		"1.2.3.04",
		"1.2.3.4 ",
		" 1.2.3.4",
		"1.2.3.-4",
		"0x1.2.3.4",
		"1..2.3",
		".1.2.3.4",
		"1.2.3.4.",
		"::1%eth0",
		":::",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"::12345",
		"g::1",
		"[::1]",
		"::1.2.3",
		"1.2.3.4/24",
		"a.b.c.d",
		"::1::2",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ipaddr a;
		cr_assert(!ipaddr_parse(span_str(rows[i]), &a), "%s", rows[i]);
	}
	struct ipaddr a;
	cr_assert(!ipaddr_parse(span_of("1.2.3.4\0x", 9), &a));
	cr_assert(!ipaddr_parse(SPAN_NONE, &a));
}

Test(ipaddr, random_round_trip)
{
	struct rng r;
	rng_init(&r, 3);
	for (uint32_t i = 0; i < 20000; i++) {
		struct ipaddr a, b;
		for (uint32_t k = 0; k < 16; k++)
			a.b[k] = rng_chance(&r, 600000) ? 0 : (uint8_t)rng_next(&r);
		if (rng_chance(&r, 300000))
			a = ipaddr_v4((uint32_t)rng_next(&r));
		cr_assert(ipaddr_parse(span_str(text_of(&a)), &b), "%s", text_of(&a));
		cr_assert(ipaddr_eq(&a, &b), "%s", text_of(&a));
		if (ipaddr_is_v4(&a))
			cr_assert_eq(load_be32(a.b + 12), ipaddr_to_v4(&a));
	}
}

Test(ipprefix, good_and_bad)
{
	static const struct {
		const char *in, *out;
		uint8_t bits;
	} good[] = {
		{"192.0.2.1", "192.0.2.1", 128},
		{"192.0.2.0/24", "192.0.2.0/24", 120},
		{"0.0.0.0/0", "0.0.0.0/0", 96},
		{"10.0.0.0/8", "10.0.0.0/8", 104},
		{"192.0.2.128/25", "192.0.2.128/25", 121},
		{"192.0.2.1/32", "192.0.2.1", 128},
		{"2001:db8::/32", "2001:db8::/32", 32},
		{"::/0", "::/0", 0},
		{"::1/128", "::1", 128},
	};
	static const char *const bad[] = {
		"192.0.2.1/24",
		"192.0.2.0/33",
		"192.0.2.0/",
		"/24",
		"192.0.2.0/024",
		"192.0.2.0/2 4",
		"2001:db8::1/32",
		"2001:db8::/129",
		"192.0.2.0/-1",
		"192.0.2.0/24/24",
		"",
		"2001:db8::/99999999999",
	};
	struct ipprefix p;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char mem[64];
		struct strbuf b;
		strbuf_init(&b, mem, sizeof(mem));
		cr_assert(ipprefix_parse(span_str(good[i].in), &p), "%s", good[i].in);
		cr_assert_eq(p.bits, good[i].bits);
		ipprefix_format(&b, &p);
		cr_assert_str_eq(mem, good[i].out);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert(!ipprefix_parse(span_str(bad[i]), &p), "%s", bad[i]);
}

Test(ipprefix, membership)
{
	static const struct {
		const char *prefix, *addr;
		bool in;
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.0/31", "192.0.2.1", true},
		{"192.0.2.0/31", "192.0.2.2", false},
		{"0.0.0.0/0", "8.8.8.8", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "8.8.8.8", false},
		{"::/0", "2001:db8::1", true},
		{"::ffff:0:0/96", "8.8.8.8", true},
		{"2001:db8::/33", "2001:db8:8000::", false},
		{"2001:db8::/33", "2001:db8:7fff::", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.6", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ipprefix p;
		struct ipaddr a;
		cr_assert(ipprefix_parse(span_str(rows[i].prefix), &p));
		cr_assert(ipaddr_parse(span_str(rows[i].addr), &a));
		cr_assert_eq(ipprefix_has(&p, &a), rows[i].in, "%s in %s", rows[i].addr,
			     rows[i].prefix);
	}
}
