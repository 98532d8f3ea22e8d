// SPDX-License-Identifier: Apache-2.0
// plane: what posternd knows of the dataplane's process: does it live, how many workers has it?
//
// Who calls it: posternd's loop and API; single-threaded. Memory: the caller's struct. The truth is
// the flock that the dataplane holds on RUN_DIR/dataplane.lock for its life: the kernel drops it in
// whatever way the process ends, while a heartbeat would look alive for a while. What can go wrong:
// the lock file cannot be opened: the dataplane is taken for dead. All words of the region are
// input: clamped here.
#pragma once

#include "control/abi/region.h"

#define PLANE_LOCK_FILE "dataplane.lock"
#define PLANE_CHECK_MS 250 // the lock is tested this often

struct plane {
	char lock_path[256];
	const struct region *region; // borrowed; NULL: not there yet
	bool is_alive;
	uint64_t checked_ms;   // 0: never
	uint64_t dead_beat_us; // the last beat of the one that was found dead
};

void plane_init(struct plane *p, const char *run_dir);
void plane_attach(struct plane *p, const struct region *r);
// Tests the lock now (plane_check) or when the last test is old (plane_poll). Returns is_alive. A
// test holds the lock for some microseconds if it is free, and must not hinder a dataplane that
// starts in that instant: so once it is found dead the lock is left alone until there is a new beat
// in the region.
bool plane_check(struct plane *p, uint64_t now_ms);
bool plane_poll(struct plane *p, uint64_t now_ms);
// Workers that the dataplane says it runs, at most workers_max; 0 when it does not live.
uint32_t plane_workers(const struct plane *p, const struct region *r);
const char *plane_state_name(const struct plane *p,
			     const struct region *r); // "running", "down", ..
