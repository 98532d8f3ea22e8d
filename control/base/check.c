// SPDX-License-Identifier: Apache-2.0
// check: what happens when an assertion fails: the hook, one line on stderr, a trap. The line is
// written with write(2) from a fixed buffer, because the heap and stdio may be what is broken.
#include "control/base/check.h"

#include <stdio.h>
#include <unistd.h>

check_hook_fn check_hook;

_Noreturn void
check_fail(const char *file, int line, const char *what)
{
	check_hook_fn hook = check_hook;
	check_hook = NULL; // a CHECK that fails inside the hook must not come back here for ever
	char text[512];
	int n = snprintf(text, sizeof(text), "CHECK failed: %s:%d: %s\n", file, line, what);
	if (n > 0) {
		size_t len = MIN((size_t)n, sizeof(text) - 1);
		ssize_t done = write(STDERR_FILENO, text, len);
		(void)done; // there is nobody left to tell
	}
	if (hook != NULL)
		hook(file, line, what);
	__builtin_trap();
}
