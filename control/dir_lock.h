// SPDX-License-Identifier: Apache-2.0
// dir_lock: one posternd a directory: DIR/posternd.lock, held with flock.
//
// What for: two that share a run directory would fight for the socket and the region; two that
// share a state directory would each write what the other does not know of, and both be wrong. Who
// calls it: posternd at its start. Memory: none. What can go wrong: false with a reason that names
// the directory. The file stays when the lock goes: removing it would let two lock different files.
#pragma once

#include "control/base/strbuf.h"

struct dir_lock {
	int run_fd, state_fd; // -1: not held
};
#define DIR_LOCK_NONE ((struct dir_lock){.run_fd = -1, .state_fd = -1})

// Both, or none. They may be the same directory.
must_use bool dir_lock_take(struct dir_lock *l, const char *run_dir, const char *state_dir,
			    struct strbuf *why);
void dir_lock_drop(struct dir_lock *l);
