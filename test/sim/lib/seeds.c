// SPDX-License-Identifier: Apache-2.0
// seeds: see the header.
#include "test/sim/lib/seeds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
usage(const char *name)
{
	(void)fprintf(stderr, "usage: %s [-v] [-4] [-6] [-L] [-s SEED] [-n COUNT]\n", name);
	return 2;
}

int
seeds_main(int argc, char **argv, uint64_t count, seeds_fn run)
{
	struct seeds_options o = {0};
	uint64_t seed = 1, passed = 0, failed = 0;
	uint32_t family = 0; // 0: by seed, each fourth is IPv6

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0)
			o.verbose = true;
		else if (strcmp(argv[i], "-4") == 0)
			family = 4;
		else if (strcmp(argv[i], "-6") == 0)
			family = 6;
		else if (strcmp(argv[i], "-L") == 0)
			o.is_long = true;
		else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
			count = strtoull(argv[++i], NULL, 10);
		else
			return usage(argv[0]);
	}
	for (uint64_t i = 0; i < count; i++) {
		o.is_v6 = family == 6 || (family == 0 && (seed + i) % 4 == 0);
		if (o.verbose)
			printf("seed %" PRIu64 "\n", seed + i);
		if (run(seed + i, &o)) {
			passed++;
		} else {
			failed++;
			printf("    again: %s -v %s%s -s %" PRIu64 " -n 1\n", argv[0],
			       o.is_v6 ? "-6" : "-4", o.is_long ? " -L" : "", seed + i);
		}
		(void)fflush(stdout);
	}
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
	return failed > 0;
}
