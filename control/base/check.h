// SPDX-License-Identifier: Apache-2.0
// check: assertions that are always compiled in, and the small compiler words that all code uses.
//
// What for: a broken invariant of our own stops the process at once, with its place named, instead
// of letting it answer for mail. Who calls it: everybody. Memory: none. What can go wrong: a failed
// CHECK calls the hook (the dataplane dumps its worker there) and traps. Never CHECK input that
// comes from a peer, a disk, the operator or another process: that is a result, not a bug.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define must_use __attribute__((warn_unused_result))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CACHE_LINE 64

// Called once before the trap, on the failing thread; must not allocate.
typedef void (*check_hook_fn)(const char *file, int line, const char *what);
extern check_hook_fn check_hook;

_Noreturn void check_fail(const char *file, int line, const char *what);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			check_fail(__FILE__, __LINE__, #cond);                                     \
	} while (0)

// For checks that cost more than a compare: on in the debug, asan, ubsan and fuzz variants.
#ifdef POSTERN_DCHECK
#define DCHECK(cond) CHECK(cond)
#else
#define DCHECK(cond)                                                                               \
	do {                                                                                       \
		(void)sizeof(cond);                                                                \
	} while (0)
#endif

// Pooled objects begin with `uint32_t magic`; a stale or foreign pointer is caught on first use.
#define OBJ_CHECK(obj, MAGIC) CHECK((obj) != NULL && (obj)->magic == (MAGIC))
