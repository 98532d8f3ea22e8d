// SPDX-License-Identifier: Apache-2.0
// region: the shared memory of posternd and the dataplane: one sparse file in the run directory.
//
//   head (4 KiB) | policy slot 0 | policy slot 1 | worker 0: counters, events, commands | ...
//
// What for: policies down, events and counters up, commands down. Who calls it: posternd creates or
// adopts the file (region_create); the dataplane attaches in boot (region_attach), waiting while
// there is none. Both keep it mapped when the other dies. Ownership: each field has one writer,
// named at its group. Publication: posternd writes an image into the slot that is not
// `active_slot`, then stores slot, size and last of all `generation` (release). The dataplane
// copies the image into memory of its own, checks `generation` again, validates the copy, and
// reports `taken_generation` (copied: the slot is free again) and per worker `generation` (in
// force). Nothing is ever read from a slot afterwards. What can go wrong: magic, version, layout or
// sizes differ: attach fails with a reason, nobody guesses.
#pragma once

#include "control/abi/counter.h"
#include "control/abi/logrec.h"
#include "control/abi/machine.h"
#include "control/abi/policy.h"
#include "control/abi/ring.h"

#define REGION_MAGIC 0x314e4f4947455250ull // "PREGION1"
#define REGION_VERSION 2u
#define REGION_WORKERS_MAX POLICY_CORES_MAX
#define REGION_EVENT_SLOTS 8192u
#define REGION_COMMAND_SLOTS 64u
#define REGION_SLOTS 2u

enum region_state { REGION_DOWN, REGION_WAITING, REGION_BOOTING, REGION_RUNNING, REGION_FAILED };

enum command_kind {
	COMMAND_NONE,
	COMMAND_SESSION_LIST,
	COMMAND_SESSION_SHOW,    // argument 0: the session
	COMMAND_SESSION_CAPTURE, // argument 0: the session; 1: for so many ms, 0: end it
	COMMAND_COUNT
};

#define COMMAND_CAPTURE_MS_MAX 3600000u

struct command { // 64 bytes
	uint32_t kind;
	uint32_t reserved;
	uint64_t request; // comes back in the records that answer it
	uint64_t argument[6];
};
static_assert(sizeof(struct command) == 64, "one slot");

struct region_worker_state { // written by the dataplane
	uint64_t generation; // policy in force
	uint64_t loops;
	uint32_t cpu, node;
};

struct region_head {
	// written once, by the creator
	uint64_t magic;
	uint32_t version, head_size;
	uint64_t file_size, slot_off, slot_size, worker_off, worker_size;
	uint64_t counters_off, events_off, commands_off; // inside a worker's part
	uint32_t workers_max, event_slots, command_slots, counter_count;
	uint64_t layout; // of all .def files whose rows have numbers here, by name and place
	uint64_t counters_size;
	uint64_t reserved0[2];
	// written by posternd
	uint64_t control_pid, control_epoch, control_beat_us; // beat: CLOCK_MONOTONIC
	uint64_t generation;                                  // of the image in active_slot
	uint64_t image_size;
	uint32_t active_slot;
	uint32_t reserved1[11];
	// written by the dataplane
	uint64_t plane_pid, plane_epoch, plane_beat_us;
	uint64_t taken_generation;   // highest one copied out
	uint64_t refused_generation; // highest one found bad; the reason is in `why`
	uint32_t state;              // enum region_state
	uint32_t workers;            // running
	char why[256];               // of REGION_FAILED or of a refused policy; NUL-terminated
	char warnings[512];          // start-up findings (NUMA mismatch ..), a line each
	struct region_worker_state worker[REGION_WORKERS_MAX];
	struct machine_sig machine; // of the policy that it booted from
};
static_assert(sizeof(struct region_head) <= 4096, "one page");

struct region {
	struct region_head *head;
	uint8_t *base;
	size_t size;
};

// Opens or creates `path`. An existing sound file is adopted as it is (rings keep what is in them).
// A damaged or foreign one is refused while `plane_is_alive`, else replaced, and `why` says so.
// 0 or -errno, reason in `why`.
must_use int region_create(struct region *r, const char *path, bool plane_is_alive,
			   struct strbuf *why);
// 0; -ENOENT or -EAGAIN: not there yet, try again; -EINVAL: made by another build (why says how).
must_use int region_attach(struct region *r, const char *path, struct strbuf *why);
void region_detach(struct region *r);

uint8_t *region_slot(const struct region *r, uint32_t slot); // POLICY_IMAGE_MAX bytes
struct counters *region_counters(const struct region *r, uint32_t worker);
must_use bool region_events(const struct region *r, uint32_t worker, struct ring *out);
must_use bool region_commands(const struct region *r, uint32_t worker, struct ring *out);

// posternd: copies an image into the free slot and publishes it. -EBUSY: the dataplane lives and
// has not copied the one before yet; call again later.
must_use int region_publish(struct region *r, const void *image, size_t size);
// Whether the dataplane has given a sign of life just now, as far as its state and beat tell.
must_use bool region_plane_lives(const struct region_head *h);
// dataplane: copies the newest image out when its generation is above `above`. NULL: none, or it
// changed underneath (call again). The caller owns the copy (free). Stores `taken_generation`.
void *must_use region_take(struct region *r, uint64_t above, size_t *size, uint64_t *generation);
