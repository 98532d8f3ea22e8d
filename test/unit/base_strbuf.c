// SPDX-License-Identifier: Apache-2.0
// Tests of strbuf: never beyond the storage, always terminated, truncation is sticky.
#include <criterion/criterion.h>
#include <string.h>

#include "control/base/strbuf.h"

Test(strbuf, builds)
{
	char mem[64];
	struct strbuf b;
	strbuf_init(&b, mem, sizeof(mem));
	strbuf_add_str(&b, "a");
	strbuf_add_char(&b, '-');
	strbuf_add_u64(&b, 0);
	strbuf_add_u64(&b, UINT64_MAX);
	strbuf_addf(&b, "<%d>", -5);
	strbuf_add(&b, SPAN_NONE);
	cr_assert_str_eq(mem, "a-018446744073709551615<-5>");
	cr_assert_eq(b.len, strlen(mem));
	cr_assert(!b.truncated);
	cr_assert(span_eq(strbuf_span(&b), span_str(mem)));
	strbuf_reset(&b);
	cr_assert_eq(b.len, 0);
	cr_assert_str_empty(mem);
}

Test(strbuf, numbers_of_a_width)
{
	char mem[128];
	struct strbuf b;

	strbuf_init(&b, mem, sizeof(mem));
	strbuf_add_padded(&b, 7, 2);
	strbuf_add_char(&b, ' ');
	strbuf_add_padded(&b, 2026, 2);
	strbuf_add_char(&b, ' ');
	strbuf_add_padded(&b, 0, 0);
	strbuf_add_char(&b, ' ');
	strbuf_add_padded(&b, 5, 20);
	strbuf_add_char(&b, ' ');
	strbuf_add_hex64(&b, 0x0123456789abcdefull);
	strbuf_add_char(&b, ' ');
	strbuf_add_hex64(&b, 0);
	cr_assert_str_eq(mem, "07 2026 0 00000000000000000005 0123456789abcdef 0000000000000000");
	cr_assert(!b.truncated);
}

Test(strbuf, cuts_at_every_size)
{
	for (uint32_t size = 1; size <= 12; size++) {
		char mem[16];
		memset(mem, '#', sizeof(mem));
		struct strbuf b;
		strbuf_init(&b, mem, size);
		strbuf_add_str(&b, "abc");
		strbuf_addf(&b, "%s", "defg");
		strbuf_add_u64(&b, 123);
		cr_assert_eq(b.truncated, size < 11);
		cr_assert_eq(b.len, MIN(size - 1, 10));
		cr_assert_eq(strlen(mem), b.len);
		cr_assert(memcmp(mem, "abcdefg123", b.len) == 0);
		cr_assert_eq(mem[size], '#', "wrote beyond %u bytes", size);
	}
}

Test(strbuf, truncation_is_sticky)
{
	char mem[4];
	struct strbuf b;
	strbuf_init(&b, mem, sizeof(mem));
	strbuf_add_str(&b, "abcd");
	cr_assert(b.truncated);
	strbuf_add_str(&b, "");
	cr_assert(b.truncated);
	strbuf_reset(&b);
	cr_assert(!b.truncated);
}
