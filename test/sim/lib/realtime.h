// SPDX-License-Identifier: Apache-2.0
// realtime: the kernel's clock, and an orderly end by signal, for the programs of the simulation
// that run in real time (simwire, simpeer).
//
// Who calls it: one thread. Memory: a flag that the signal handler sets. What can go wrong:
// nothing.
#pragma once

#include <stdbool.h>
#include <stdint.h>

void realtime_begin(void);   // from here on SIGTERM and SIGINT end the program in order
bool realtime_is_over(void); // one of them has come
uint64_t realtime_us(void);  // monotonic
