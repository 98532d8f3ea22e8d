// SPDX-License-Identifier: Apache-2.0
// Tests of spans: total on every offset, ASCII-only case folding, numbers.
#include <criterion/criterion.h>

#include "control/base/span.h"

Test(span, sub_is_clipped)
{
	struct span s = SPAN_LIT("abcdef");
	cr_assert(span_eq(span_sub(s, 2, 3), SPAN_LIT("cde")));
	cr_assert(span_eq(span_sub(s, 4, 100), SPAN_LIT("ef")));
	cr_assert(span_eq(span_sub(s, 4, UINT32_MAX), SPAN_LIT("ef")));
	cr_assert_eq(span_sub(s, 6, 1).n, 0);
	cr_assert_eq(span_sub(s, UINT32_MAX, UINT32_MAX).n, 0);
	cr_assert(span_eq(span_from(s, 5), SPAN_LIT("f")));
	cr_assert_eq(span_from(SPAN_NONE, 0).n, 0);
	cr_assert_eq(span_sub(SPAN_NONE, 3, 4).n, 0);
	cr_assert_eq(span_of(NULL, 5).n, 0);
	cr_assert_eq(span_str(NULL).n, 0);
	cr_assert_eq(span_of(s.p, (size_t)UINT32_MAX + 5).n, UINT32_MAX);
}

Test(span, trim)
{
	cr_assert(span_eq(span_trim(SPAN_LIT(" \t a b\t ")), SPAN_LIT("a b")));
	cr_assert_eq(span_trim(SPAN_LIT(" \t ")).n, 0);
	cr_assert(span_eq(span_trim(SPAN_LIT("\r\n")), SPAN_LIT("\r\n")));
	cr_assert_eq(span_trim(SPAN_NONE).n, 0);
}

Test(span, compare)
{
	cr_assert(span_eq(SPAN_NONE, SPAN_LIT("")));
	cr_assert(!span_eq(SPAN_LIT("a"), SPAN_LIT("ab")));
	cr_assert(span_eq_nocase(SPAN_LIT("HeLo"), SPAN_LIT("hElO")));
	cr_assert(!span_eq_nocase(SPAN_LIT("[a"), SPAN_LIT("{a")));
	cr_assert(!span_eq_nocase(SPAN_LIT("@"), SPAN_LIT("`")));
	cr_assert(!span_eq_nocase(SPAN_LIT("\xc4"), SPAN_LIT("\xe4")));
	cr_assert(span_starts_nocase(SPAN_LIT("MAIL FROM:"), SPAN_LIT("mail ")));
	cr_assert(!span_starts_nocase(SPAN_LIT("MA"), SPAN_LIT("mail")));
	cr_assert(span_ends_nocase(SPAN_LIT("x.EXE"), SPAN_LIT(".exe")));
	cr_assert(!span_ends_nocase(SPAN_LIT("xe"), SPAN_LIT(".exe")));
	cr_assert(span_ends_nocase(SPAN_LIT("x"), SPAN_NONE));
	cr_assert_eq(span_cmp(SPAN_LIT("a"), SPAN_LIT("b")), -1);
	cr_assert_eq(span_cmp(SPAN_LIT("b"), SPAN_LIT("ab")), 1);
	cr_assert_eq(span_cmp(SPAN_LIT("a"), SPAN_LIT("ab")), -1);
	cr_assert_eq(span_cmp(SPAN_LIT("\xff"), SPAN_LIT("a")), 1);
	cr_assert_eq(span_cmp(SPAN_NONE, SPAN_NONE), 0);
}

Test(span, find)
{
	cr_assert_eq(span_find(SPAN_LIT("a@b@c"), '@'), 1);
	cr_assert_eq(span_rfind(SPAN_LIT("a@b@c"), '@'), 3);
	cr_assert_eq(span_find(SPAN_LIT("abc"), '@'), -1);
	cr_assert_eq(span_rfind(SPAN_NONE, '@'), -1);
	cr_assert_eq(span_find(SPAN_NONE, 0), -1);
}

Test(span, numbers)
{
	uint64_t v = 77;
	cr_assert(span_u64(SPAN_LIT("0"), 0, &v) && v == 0);
	cr_assert(span_u64(SPAN_LIT("00012"), 12, &v) && v == 12);
	cr_assert(span_u64(SPAN_LIT("18446744073709551615"), UINT64_MAX, &v) && v == UINT64_MAX);
	v = 77;
	cr_assert(!span_u64(SPAN_LIT("18446744073709551616"), UINT64_MAX, &v));
	cr_assert(!span_u64(SPAN_LIT("99999999999999999999999"), UINT64_MAX, &v));
	cr_assert(!span_u64(SPAN_LIT("13"), 12, &v));
	cr_assert(!span_u64(SPAN_NONE, 12, &v));
	cr_assert(!span_u64(SPAN_LIT("+1"), 12, &v));
	cr_assert(!span_u64(SPAN_LIT("1 "), 12, &v));
	cr_assert_eq(v, 77, "a refused number leaves the variable alone");
}
