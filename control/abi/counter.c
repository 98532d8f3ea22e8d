// SPDX-License-Identifier: Apache-2.0
// counter: the names of the counters. People see lower case and the table has upper case, so the
// names are made once, before main, and are constant from then on.
#include "control/abi/counter.h"

#define NAME_SIZE 32

#define COUNTER(id, help) static_assert(sizeof(#id) <= NAME_SIZE, "name fits");
#include "control/abi/counter.def"
#undef COUNTER

static char names[COUNTER_COUNT][NAME_SIZE] = {
#define COUNTER(id, help) [COUNTER_##id] = #id,
#include "control/abi/counter.def"
#undef COUNTER
};

static const char *const helps[COUNTER_COUNT] = {
#define COUNTER(id, help) [COUNTER_##id] = help,
#include "control/abi/counter.def"
#undef COUNTER
};

__attribute__((constructor)) static void
lower_names(void)
{
	for (uint32_t c = 0; c < COUNTER_COUNT; c++)
		for (uint32_t i = 0; i < NAME_SIZE; i++)
			names[c][i] = (char)ascii_lower((uint8_t)names[c][i]);
}

const char *
counter_name(uint32_t c)
{
	return c < COUNTER_COUNT ? names[c] : "?";
}

const char *
counter_help(uint32_t c)
{
	return c < COUNTER_COUNT ? helps[c] : "?";
}
