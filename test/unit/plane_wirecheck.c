// SPDX-License-Identifier: Apache-2.0
// Tests of wirecheck: a good conversation passes, and each doctored segment of it is noticed.

#include <criterion/criterion.h>

#include "control/base/bytes.h"
#include "test/sim/lib/framesum.h"
#include "test/sim/lib/wirecheck.h"

#define FIN 0x01
#define SYN 0x02
#define ACK 0x10

#define TS_OFF 1u

struct line { // seq and ack count from the ISNs, 1000 and 5000
	uint8_t from, flags;
	uint32_t seq, data, ack, wnd, ts, ecr;
	uint32_t sacks[4][2]; // ends where the end is 0
	uint32_t how;
};

static uint32_t
segment(uint8_t *p, const struct line *l)
{
	uint32_t at = 20, isn = l->from == 0 ? 1000 : 5000;

	memset(p, 0, 60);
	store_be16(p, l->from == 0 ? 4000 : 25);
	store_be16(p + 2, l->from == 0 ? 25 : 4000);
	store_be32(p + 4, isn + l->seq);
	store_be32(p + 8, l->flags & ACK ? 6000 - isn + l->ack : 0);
	p[13] = l->flags;
	store_be16(p + 14, (uint16_t)l->wnd);
	if (l->flags & SYN) {
		memcpy(p + at, "\2\4\2\0\4\2\3\3\2\1", 10); // MSS 512, SACK, window scale 2
		at += 10;
	}
	if ((l->how & TS_OFF) == 0) {
		p[at] = 8;
		p[at + 1] = 10;
		store_be32(p + at + 2, l->ts);
		store_be32(p + at + 6, l->ecr);
		at += 10;
	}
	uint32_t n = 0;
	while (n < 4 && l->sacks[n][1] != 0)
		n++;
	if (n > 0) {
		p[at] = 5;
		p[at + 1] = (uint8_t)(2 + 8 * n);
		for (uint32_t i = 0; i < n; i++) {
			store_be32(p + at + 2 + 8 * i, 6000 - isn + l->sacks[i][0]);
			store_be32(p + at + 6 + 8 * i, 6000 - isn + l->sacks[i][1]);
		}
		at += 2 + 8 * n;
	}
	while (at % 4 != 0)
		p[at++] = 1;
	p[12] = (uint8_t)(at / 4 << 4);
	memset(p + at, 'x', l->data);
	return at + l->data;
}

static void
say(struct wirecheck *w, const struct line *l)
{
	uint8_t bytes[2000];
	struct tcp_path path = {.laddr = ipaddr_v4(0x0a000001 + l->from),
				.raddr = ipaddr_v4(0x0a000002 - l->from),
				.lport = l->from == 0 ? 4000 : 25,
				.rport = l->from == 0 ? 25 : 4000};
	uint32_t n = segment(bytes, l);

	wirecheck_segment(w, &path, span_of(bytes, n), 0);
}

// 0 is the client. It has sent 1000 bytes of which 100 are acknowledged, in a window of 4000.
static const struct line talk[] = {
	{0, SYN, 0, 0, 0, 800, 10, 0},       {1, SYN | ACK, 0, 0, 1, 800, 90, 10},
	{0, ACK, 1, 0, 1, 1000, 11, 90},     {1, ACK, 1, 0, 1, 1000, 91, 11},
	{0, ACK, 1, 100, 1, 1000, 12, 91},   {0, ACK, 101, 300, 1, 1000, 12, 91},
	{0, ACK, 401, 300, 1, 1000, 12, 91}, {0, ACK, 701, 300, 1, 1000, 13, 91},
	{1, ACK, 1, 0, 101, 975, 92, 12},
};

static const char *
verdict(const struct line *more, uint32_t count)
{
	struct wirecheck w;

	wirecheck_init(&w);
	for (uint32_t i = 0; i < ARRAY_LEN(talk); i++)
		say(&w, &talk[i]);
	cr_assert_null(w.fault, "%s: %s", w.fault, w.text);
	for (uint32_t i = 0; i < count; i++)
		say(&w, &more[i]);
	const char *fault = w.fault;
	wirecheck_fini(&w);
	return fault;
}

Test(wirecheck, good_segments_pass)
{
	static const struct line rows[] = {
		{1, ACK, 1, 0, 101, 975, 93, 12, {{401, 701}}},
		{1, ACK, 1, 0, 101, 975, 93, 12, {{701, 801}, {401, 501}}},
		{1, ACK, 1, 0, 101, 976, 93, 12}, // an edge that moves by less than the scale
		{1, ACK, 1, 0, 101, 975, 93, 12, {{1, 101}, {401, 501}}}, // RFC 2883
		{0, ACK, 1, 100, 1, 1000, 14, 91},                        // sent again
		{0, ACK, 1001, 500, 1, 1000, 14, 91},
		{0, FIN | ACK, 1001, 0, 1, 1000, 14, 91},
		{0, 4, 77777, 0, 0, 0, 0, 0}, // any RST
	};
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *fault = verdict(&rows[i], 1);
		cr_assert_null(fault, "row %u: %s", i, fault);
	}
}

Test(wirecheck, doctored_segments_are_noticed)
{
	static const struct {
		const char *fault;
		struct line line[2];
	} rows[] = {
		{"acknowledges what was not sent", {{1, ACK, 1, 0, 1002, 975, 93, 12}}},
		{"acknowledgment taken back", {{1, ACK, 1, 0, 51, 1000, 93, 12}}},
		{"window edge taken back", {{1, ACK, 1, 0, 101, 974, 93, 12}}},
		{"bytes beyond the window", {{0, ACK, 3999, 3, 1, 1000, 14, 91}}},
		{"a probe beyond the first byte", {{0, ACK, 4003, 1, 1, 1000, 14, 91}}},
		{"larger than the peer's MSS", {{0, ACK, 1001, 501, 1, 1000, 14, 91}}},
		{"a gap before what is sent", {{0, ACK, 1002, 1, 1, 1000, 14, 91}}},
		{"a FIN before what was sent", {{0, FIN | ACK, 701, 10, 1, 1000, 14, 91}}},
		{"the FIN has moved",
		 {{0, FIN | ACK, 1001, 0, 1, 1000, 14, 91},
		  {0, FIN | ACK, 1001, 9, 1, 1000, 14, 91}}},
		{"bytes behind the FIN",
		 {{0, FIN | ACK, 1001, 0, 1, 1000, 14, 91}, {0, ACK, 1001, 9, 1, 1000, 14, 91}}},
		{"timestamps go back", {{0, ACK, 1001, 0, 1, 1000, 12, 91}}},
		{"echoes a timestamp that was not sent", {{0, ACK, 1001, 0, 1, 1000, 14, 93}}},
		{"a segment without timestamp", {{0, ACK, 1001, 0, 1, 1000, 0, 0, {{0}}, TS_OFF}}},
		{"a segment without ACK", {{0, 0, 1001, 5, 0, 1000, 14, 91}}},
		{"an empty SACK block", {{1, ACK, 1, 0, 101, 975, 93, 12, {{701, 701}}}}},
		{"a SACK block beyond what was sent",
		 {{1, ACK, 1, 0, 101, 975, 93, 12, {{701, 1002}}}}},
		{"a SACK block at or below the acknowledgment",
		 {{1, ACK, 1, 0, 101, 975, 93, 12, {{101, 401}}}}},
		{"SACK blocks that touch",
		 {{1, ACK, 1, 0, 101, 975, 93, 12, {{401, 701}, {701, 801}}}}},
		{"the newest SACK block is not the first",
		 {{1, ACK, 1, 0, 101, 975, 93, 12, {{401, 501}}},
		  {1, ACK, 1, 0, 101, 975, 93, 12, {{401, 501}, {701, 801}}}}},
		{"data in a SYN", {{0, SYN, 7, 5, 0, 1000, 14, 0}}},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *fault = verdict(rows[i].line, rows[i].line[1].flags != 0 ? 2 : 1);
		cr_assert(fault != NULL && strcmp(fault, rows[i].fault) == 0, "row %u: %s for %s",
			  i, fault != NULL ? fault : "nothing", rows[i].fault);
	}
}

Test(wirecheck, before_a_syn_nothing_goes)
{
	struct wirecheck w;

	wirecheck_init(&w);
	say(&w, &talk[4]);
	cr_assert_str_eq(w.fault, "a segment before a SYN");
	wirecheck_fini(&w);
}

// --- frames ---

static uint32_t
frame(uint8_t *f, bool is_v6)
{
	uint8_t *ip = f + 14, *seg = ip + (is_v6 ? 40 : 20);
	uint32_t n = segment(seg, &talk[0]);

	memset(f, 0, 14 + (is_v6 ? 40u : 20u));
	store_be16(f + 12, is_v6 ? 0x86dd : 0x0800);
	if (is_v6) {
		ip[0] = 0x60;
		store_be16(ip + 4, (uint16_t)n);
		ip[6] = 6;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfd;
		ip[23] = 1;
		ip[39] = 2;
	} else {
		ip[0] = 0x45;
		store_be16(ip + 2, (uint16_t)(20 + n));
		ip[8] = 64;
		ip[9] = 6;
		store_be32(ip + 12, 0x0a000001);
		store_be32(ip + 16, 0x0a000002);
		store_be16(ip + 10, (uint16_t)~framesum_fold(framesum_add(0, ip, 20)));
	}
	uint64_t sum = framesum_add(n + 6, is_v6 ? ip + 8 : ip + 12, is_v6 ? 32 : 8);
	store_be16(seg + 16, (uint16_t)~framesum_fold(framesum_add(sum, seg, n)));
	return (uint32_t)(seg - f) + n;
}

Test(wirecheck, every_bit_of_a_frame_counts)
{
	struct wirecheck w;
	uint8_t f[200];

	for (uint32_t v = 0; v < 2; v++) {
		uint32_t n = frame(f, v == 1), missed = 0;
		wirecheck_init(&w);
		wirecheck_frame(&w, span_of(f, n), VNET_A, 0);
		cr_assert_null(w.fault, "IPv%u: %s", v == 1 ? 6 : 4, w.fault);
		cr_assert_eq(w.segments, 1);
		wirecheck_fini(&w);
		for (uint32_t bit = 8 * 14; bit < 8 * n; bit++) {
			f[bit / 8] ^= (uint8_t)(1u << bit % 8);
			wirecheck_init(&w);
			wirecheck_frame(&w, span_of(f, n), VNET_A, 0);
			missed += w.fault == NULL;
			wirecheck_fini(&w);
			f[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		// Another protocol is none of its business; nor are IPv6's class, label and hops.
		cr_assert_leq(missed, v == 1 ? 28u + 8 + 8 : 8u, "IPv%u: %u", v == 1 ? 6 : 4,
			      missed);
	}
}
