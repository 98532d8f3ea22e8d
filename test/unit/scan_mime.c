// SPDX-License-Identifier: Apache-2.0
// Tests of the stack of parts and its delimiters.
#include <criterion/criterion.h>
#include <string.h>

#include "scanner/mime.h"

static struct mime_stack s;

static void
setup(void)
{
	memset(&s, 0xa5, sizeof(s)); // nothing may depend on zeroes
	mime_stack_init(&s);
}

TestSuite(mime, .init = setup);

static void
push(const char *boundary)
{
	if (boundary != NULL)
		cr_assert_eq(mime_boundary_add(&s, span_str(boundary)), MIME_OK);
	cr_assert_eq(mime_push(&s, MIME_MULTIPART, false), MIME_OK);
}

static void
check(const char *line, int frame, bool is_close)
{
	struct mime_delimiter d = mime_line_check(&s, span_str(line));

	cr_assert_eq(d.frame, frame, "'%s' delimits %d", line, d.frame);
	cr_assert(frame < 0 || d.is_close == is_close, "'%s'", line);
}

Test(mime, delimiters)
{
	push("abc");
	push("def");
	cr_assert(mime_is_watching(&s));
	check("--abc", 0, false);
	check("--abc--", 0, true);
	check("--def", 1, false);
	check("--def--", 1, true);
	check("--def \t", 1, false);
	check("--def-- ", 1, true);
	check("--de", -1, false);
	check("-def", -1, false);
	check("def", -1, false);
	check("--", -1, false);
	check("", -1, false);
	check(" --def", -1, false);
	check("--DEF", -1, false);
}

Test(mime, prefixes)
{
	push("abc");
	cr_assert(mime_line_check(&s, SPAN_LIT("--abcd")).is_prefix);
	cr_assert(mime_line_check(&s, SPAN_LIT("--abc-")).is_prefix);
	cr_assert(!mime_line_check(&s, SPAN_LIT("--ab")).is_prefix);
	push("abc--"); // its delimiter closes the outer one, for some
	cr_assert(mime_line_check(&s, SPAN_LIT("--abc--")).is_both);
}

Test(mime, readings)
{
	cr_assert_eq(mime_boundary_add(&s, SPAN_LIT("one")), MIME_OK);
	cr_assert_eq(mime_boundary_add(&s, SPAN_LIT(" one ")), MIME_KNOWN);
	cr_assert_eq(mime_boundary_add(&s, SPAN_LIT("two")), MIME_OK);
	cr_assert_eq(mime_boundary_add(&s, SPAN_LIT(" ")), MIME_KNOWN);
	cr_assert_eq(mime_pending_count(&s), 2);
	check("--one", -1, false); // pending: not yet
	push(NULL);
	check("--one", 0, false);
	check("--two--", 0, true);
}

Test(mime, pop)
{
	push("abc");
	cr_assert_eq(mime_push(&s, MIME_MESSAGE, false), MIME_OK);
	push("def");
	cr_assert_eq(mime_boundary_add(&s, SPAN_LIT("pending")), MIME_OK);
	cr_assert(mime_pop_to(&s, 1)); // "def" was not closed
	check("--def", -1, false);
	check("--abc", 0, false);
	cr_assert_eq(mime_pending_count(&s), 0);
	cr_assert_eq(s.arena_len, 3);
	s.frame[0].is_closed = true;
	cr_assert(!mime_has_open_multipart(&s));
	cr_assert(!mime_pop_to(&s, 0));
	cr_assert(!mime_is_watching(&s));
}

Test(mime, same_boundary_twice)
{
	push("abc");
	push("abc");
	check("--abc", 1, false);
	cr_assert(mime_line_check(&s, SPAN_LIT("--abc")).is_both);
	s.frame[1].is_closed = true;
	check("--abc", 0, false);
}

Test(mime, guess)
{
	push(NULL);
	cr_assert(mime_is_watching(&s));
	check("no", -1, false);
	check("--", -1, false);
	check("--found", 0, false);
	check("--other", -1, false);
	check("--found--", 0, true);
	cr_assert(mime_pop_to(&s, 0));
	cr_assert(!mime_is_watching(&s));
}

Test(mime, limits)
{
	char b[MIME_BOUNDARY_MAX + 2];
	uint32_t depth = 0;

	memset(b, 'x', sizeof(b));
	cr_assert_eq(mime_boundary_add(&s, span_of(b, MIME_BOUNDARY_MAX + 1)), MIME_FULL);
	cr_assert_eq(mime_boundary_add(&s, span_of(b, MIME_BOUNDARY_MAX)), MIME_OK);
	for (uint32_t i = 1; i < MIME_READINGS_MAX; i++)
		cr_assert_eq(mime_boundary_add(&s, span_of(b, i)), MIME_OK);
	cr_assert_eq(mime_boundary_add(&s, SPAN_LIT("more")), MIME_FULL);
	mime_pending_drop(&s);
	cr_assert_eq(s.arena_len, 0);
	// The arena fills up before the frames do, when every boundary is as long as it may be.
	while (mime_boundary_add(&s, span_of(b, MIME_BOUNDARY_MAX)) == MIME_OK) {
		cr_assert_eq(mime_push(&s, MIME_MULTIPART, false), MIME_OK);
		depth++;
	}
	cr_assert_eq(depth, MIME_ARENA_SIZE / MIME_BOUNDARY_MAX);
	while (mime_push(&s, MIME_MESSAGE, false) == MIME_OK)
		depth++;
	cr_assert_eq(depth, MIME_DEPTH_MAX);
	cr_assert(mime_pop_to(&s, 0));
	cr_assert_eq(s.count, 0);
}
