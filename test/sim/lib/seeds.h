// SPDX-License-Identifier: Apache-2.0
// seeds: the command line of programs that run one property over many seeds.
//
//   PROGRAM [-v] [-4] [-6] [-L] [-s SEED] [-n COUNT]      last line: "N passed, N failed"
//
// Who calls it: main of such a program. Memory: none. A failure prints the seed's reason and the
// command that runs that seed alone, with a trace (-v).
#pragma once

#include "control/base/check.h"

struct seeds_options {
	bool verbose; // -v: a trace of each seed
	bool is_v6;   // the network is IPv6: each fourth seed; -4: none, -6: all
	bool is_long; // -L: more of everything
};

// Runs one seed; false: it failed and has printed why.
typedef bool (*seeds_fn)(uint64_t seed, const struct seeds_options *o);

int seeds_main(int argc, char **argv, uint64_t count, seeds_fn run);
