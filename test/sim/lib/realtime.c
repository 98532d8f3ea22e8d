// SPDX-License-Identifier: Apache-2.0
#include "test/sim/lib/realtime.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t is_over;

static void
on_signal(int number)
{
	(void)number;
	is_over = 1;
}

void
realtime_begin(void)
{
	const struct sigaction action = {.sa_handler = on_signal};

	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
}

bool
realtime_is_over(void)
{
	return is_over != 0;
}

uint64_t
realtime_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}
