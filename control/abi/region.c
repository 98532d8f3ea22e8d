// SPDX-License-Identifier: Apache-2.0
// region: see region.h.
//
// Every offset is computed from the constants of this build. What the head says about them is
// compared once, on attaching or adopting, and never read again: a damaged head cannot lead an
// access astray. A new file is made complete under a name of its own and then renamed, so nobody
// ever opens half a file.
#include "control/abi/region.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/base/siphash.h"

#define HEAD_SIZE 4096u
#define PAGE_ROUND(n) (((size_t)(n) + 4095u) & ~(size_t)4095u)
#define LINE_ROUND(n) (((size_t)(n) + 63u) & ~(size_t)63u)
#define RING_SIZE(slot, slots) (sizeof(struct ring_head) + (size_t)(slot) * (slots))

#define SLOT_OFF ((size_t)HEAD_SIZE)
#define SLOT_SIZE PAGE_ROUND(POLICY_IMAGE_MAX)
#define WORKER_OFF (SLOT_OFF + REGION_SLOTS * SLOT_SIZE)
#define COUNTERS_OFF ((size_t)0)
#define EVENTS_OFF LINE_ROUND(sizeof(struct counters))
#define COMMANDS_OFF (EVENTS_OFF + LINE_ROUND(RING_SIZE(LOGREC_SIZE, REGION_EVENT_SLOTS)))
#define WORKER_SIZE                                                                                \
	PAGE_ROUND(COMMANDS_OFF + RING_SIZE(sizeof(struct command), REGION_COMMAND_SLOTS))
#define FILE_SIZE (WORKER_OFF + REGION_WORKERS_MAX * WORKER_SIZE)

#define PLANE_ALIVE_US 2000000u // a beat younger than this: the dataplane lives

static_assert((REGION_EVENT_SLOTS & (REGION_EVENT_SLOTS - 1)) == 0, "rings mask their indices");
static_assert((REGION_COMMAND_SLOTS & (REGION_COMMAND_SLOTS - 1)) == 0, "rings mask their indices");

// What the numbers in the region mean: options, events and agents, and the rows of counters and
// traces. The count alone would not tell two builds apart whose counters stand in another order.
static uint64_t
region_layout(void)
{
	static const char rows[] =
#define COUNTER(id, help) "c " #id "\n"
#define TRACE(id, name, fields) "t " #id " " fields "\n"
#include "control/abi/counter.def"
#include "control/abi/trace.def"
#undef COUNTER
#undef TRACE
		;

	return siphash13((struct siphash_key){policy_layout(), 0}, rows, sizeof(rows));
}

static void
head_fill(struct region_head *h)
{
	memset(h, 0, sizeof(*h));
	h->version = REGION_VERSION;
	h->head_size = HEAD_SIZE;
	h->file_size = FILE_SIZE;
	h->slot_off = SLOT_OFF;
	h->slot_size = SLOT_SIZE;
	h->worker_off = WORKER_OFF;
	h->worker_size = WORKER_SIZE;
	h->counters_off = COUNTERS_OFF;
	h->events_off = EVENTS_OFF;
	h->commands_off = COMMANDS_OFF;
	h->workers_max = REGION_WORKERS_MAX;
	h->event_slots = REGION_EVENT_SLOTS;
	h->command_slots = REGION_COMMAND_SLOTS;
	h->counter_count = COUNTER_COUNT;
	h->layout = region_layout();
	h->counters_size = sizeof(struct counters);
}

// Whether a head describes the layout of this build, field for field.
static bool
head_is_ours(const struct region_head *h, struct strbuf *why)
{
	struct region_head want;
	head_fill(&want);
	if (h->magic != REGION_MAGIC) {
		strbuf_add_str(why, "not a region file of Postern");
		return false;
	}
	if (h->version != REGION_VERSION || h->counter_count != COUNTER_COUNT) {
		strbuf_addf(
			why,
			"region version %u with %u counters; this program has version %u with %u",
			h->version, h->counter_count, REGION_VERSION, (uint32_t)COUNTER_COUNT);
		return false;
	}
	if (h->layout != want.layout) {
		strbuf_add_str(why, "of a build with other options, events, agents or counters");
		return false;
	}
	size_t from = offsetof(struct region_head, version),
	       to = offsetof(struct region_head, reserved0);
	if (memcmp((const char *)h + from, (const char *)&want + from, to - from) != 0) {
		strbuf_add_str(why, "the region's sizes differ from this program's");
		return false;
	}
	return true;
}

static int
map_file(struct region *r, int fd)
{
	void *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*r = (struct region){.head = p, .base = p, .size = FILE_SIZE};
	return 0;
}

static uint8_t *
worker_part(const struct region *r, uint32_t worker)
{
	CHECK(r->base != NULL);
	CHECK(worker < REGION_WORKERS_MAX);
	return r->base + WORKER_OFF + worker * WORKER_SIZE;
}

static bool
rings_are_sound(const struct region *r)
{
	struct ring ring;
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++)
		if (!region_events(r, w, &ring) || !region_commands(r, w, &ring))
			return false;
	return true;
}

// Reads and checks the head through the file, not through a mapping: a file that is cut short while
// it is looked at gives a short read here and a signal there.
static int
head_check(int fd, struct strbuf *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		strbuf_add_str(why, "not a regular file");
		return -EINVAL;
	}
	struct region_head h;
	ssize_t n = pread(fd, &h, sizeof(h), 0);
	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(h) || h.magic == 0) {
		strbuf_add_str(why, "the region is not complete yet");
		return -EAGAIN;
	}
	if (!head_is_ours(&h, why))
		return -EINVAL;
	if ((uint64_t)st.st_size < FILE_SIZE) {
		strbuf_add_str(why, "the region's file is too short");
		return -EAGAIN;
	}
	if (h.active_slot >= REGION_SLOTS || h.image_size > SLOT_SIZE) {
		strbuf_add_str(why, "the region's head is damaged");
		return -EINVAL;
	}
	return 0;
}

// A file that others can write to, or made, is none that we go on with.
static int
owner_check(int fd, struct strbuf *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_uid == geteuid() && (st.st_mode & 077) == 0)
		return 0;
	strbuf_add_str(why, "the region's file belongs to others or is open to them");
	return -EINVAL;
}

// Maps an existing sound file.
static int
open_existing(struct region *r, const char *path, bool must_be_own, struct strbuf *why)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	int rc = must_be_own ? owner_check(fd, why) : 0;
	if (rc == 0)
		rc = head_check(fd, why);
	if (rc == 0)
		rc = map_file(r, fd);
	close(fd);
	if (rc == 0 && !rings_are_sound(r)) {
		strbuf_add_str(why, "a ring of the region is damaged");
		region_detach(r);
		rc = -EINVAL;
	}
	return rc;
}

static int
format_file(struct region *r, int fd)
{
	if (ftruncate(fd, (off_t)FILE_SIZE) != 0)
		return -errno;
	int rc = map_file(r, fd);
	if (rc != 0)
		return rc;
	head_fill(r->head);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		uint8_t *part = worker_part(r, w);
		ring_format(part + EVENTS_OFF, LOGREC_SIZE, REGION_EVENT_SLOTS);
		ring_format(part + COMMANDS_OFF, sizeof(struct command), REGION_COMMAND_SLOTS);
	}
	__atomic_store_n(&r->head->magic, REGION_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

static int
create_new(struct region *r, const char *path, struct strbuf *why)
{
	char tmp[PATH_MAX];
	int n = snprintf(tmp, sizeof(tmp), "%s.new.%ld", path, (long)getpid());
	if (n < 0 || (size_t)n >= sizeof(tmp))
		return -ENAMETOOLONG;
	// One of an earlier life with the same pid; O_EXCL below still refuses what others put
	// there.
	if (unlink(tmp) != 0 && errno != ENOENT)
		return -errno;
	int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		int err = errno;
		strbuf_addf(why, "cannot create %s: errno %d", tmp, err);
		return -err;
	}
	int rc = format_file(r, fd);
	if (rc == 0 && rename(tmp, path) != 0)
		rc = -errno;
	close(fd);
	if (rc != 0) {
		strbuf_addf(why, "cannot make %s: errno %d", path, -rc);
		region_detach(r);
		unlink(tmp);
	}
	return rc;
}

int
region_create(struct region *r, const char *path, bool plane_is_alive, struct strbuf *why)
{
	CHECK(r != NULL);
	CHECK(path != NULL);
	*r = (struct region){0};
	uint32_t len = why->len;
	int rc = open_existing(r, path, true, why);
	if (rc == 0)
		return 0;
	if (rc != -ENOENT && rc != -EINVAL && rc != -EAGAIN && rc != -ELOOP) {
		strbuf_addf(why, "cannot open %s: errno %d", path, -rc);
		return rc;
	}
	if (rc != -ENOENT && plane_is_alive) {
		strbuf_add_str(why, "; not replaced, since a dataplane is using it: stop it first");
		return -EBUSY;
	}
	char reason[160] = "";
	(void)snprintf(reason, sizeof(reason), "%s", why->p + len);
	// Why the old file was no good is no reason of a failure any more.
	why->len = len;
	why->p[len] = '\0';
	int made = create_new(r, path, why);
	if (made == 0 && rc != -ENOENT)
		strbuf_addf(why, "%s; replaced: counters begin at zero", reason);
	return made;
}

int
region_attach(struct region *r, const char *path, struct strbuf *why)
{
	CHECK(r != NULL);
	CHECK(path != NULL);
	*r = (struct region){0};
	int rc = open_existing(r, path, false, why);
	if (rc == -ENOENT)
		strbuf_add_str(why, "no region file yet");
	return rc;
}

void
region_detach(struct region *r)
{
	if (r->base != NULL) {
		int rc = munmap(r->base, r->size);
		CHECK(rc == 0);
	}
	*r = (struct region){0};
}

uint8_t *
region_slot(const struct region *r, uint32_t slot)
{
	CHECK(r->base != NULL);
	CHECK(slot < REGION_SLOTS);
	return r->base + SLOT_OFF + slot * SLOT_SIZE;
}

struct counters *
region_counters(const struct region *r, uint32_t worker)
{
	return (struct counters *)(void *)(worker_part(r, worker) + COUNTERS_OFF);
}

bool
region_events(const struct region *r, uint32_t worker, struct ring *out)
{
	return ring_attach(out, worker_part(r, worker) + EVENTS_OFF, LOGREC_SIZE,
			   REGION_EVENT_SLOTS);
}

bool
region_commands(const struct region *r, uint32_t worker, struct ring *out)
{
	return ring_attach(out, worker_part(r, worker) + COMMANDS_OFF, sizeof(struct command),
			   REGION_COMMAND_SLOTS);
}

bool
region_plane_lives(const struct region_head *h)
{
	uint32_t state = __atomic_load_n(&h->state, __ATOMIC_RELAXED);
	if (state != REGION_WAITING && state != REGION_BOOTING && state != REGION_RUNNING)
		return false;
	struct timespec ts;
	if (clock_gettime(CLOCK_MONOTONIC, &ts) != 0)
		return false;
	uint64_t now_us = (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
	uint64_t beat_us = __atomic_load_n(&h->plane_beat_us, __ATOMIC_RELAXED);
	// A beat in the future is younger than now by a race of a few microseconds, or left over
	// from before a reboot: then it is far off and nobody lives.
	uint64_t apart = beat_us > now_us ? beat_us - now_us : now_us - beat_us;
	return apart < PLANE_ALIVE_US;
}

int
region_publish(struct region *r, const void *image, size_t size)
{
	CHECK(r->base != NULL);
	CHECK(image != NULL);
	struct policy_head head;
	if (size < sizeof(head) || size > POLICY_IMAGE_MAX)
		return -EINVAL;
	memcpy(&head, image, sizeof(head));
	struct region_head *h = r->head;
	uint64_t before = __atomic_load_n(&h->generation, __ATOMIC_ACQUIRE);
	if (head.magic != POLICY_MAGIC || head.size != size || head.generation <= before)
		return -EINVAL;
	uint64_t taken = __atomic_load_n(&h->taken_generation, __ATOMIC_ACQUIRE);
	uint64_t refused = __atomic_load_n(&h->refused_generation, __ATOMIC_ACQUIRE);
	if (before != 0 && taken < before && refused < before && region_plane_lives(h))
		return -EBUSY;
	uint32_t active = __atomic_load_n(&h->active_slot, __ATOMIC_RELAXED);
	uint32_t slot = active == 0 ? 1 : 0;
	// A reader that is still busy with this slot's old image must see the newer generation that
	// made the slot free before it sees any of these bytes.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(region_slot(r, slot), image, size);
	__atomic_store_n(&h->image_size, size, __ATOMIC_RELEASE);
	__atomic_store_n(&h->active_slot, slot, __ATOMIC_RELEASE);
	__atomic_store_n(&h->generation, head.generation, __ATOMIC_RELEASE);
	return 0;
}

void *
region_take(struct region *r, uint64_t above, size_t *size, uint64_t *generation)
{
	CHECK(r->base != NULL);
	CHECK(size != NULL);
	CHECK(generation != NULL);
	struct region_head *h = r->head;
	uint64_t want = __atomic_load_n(&h->generation, __ATOMIC_ACQUIRE);
	if (want <= above)
		return NULL;
	uint32_t slot = __atomic_load_n(&h->active_slot, __ATOMIC_ACQUIRE);
	uint64_t n = __atomic_load_n(&h->image_size, __ATOMIC_ACQUIRE);
	if (slot >= REGION_SLOTS || n < sizeof(struct policy_head) || n > POLICY_IMAGE_MAX)
		return NULL;
	void *copy = malloc(n);
	if (copy == NULL)
		return NULL;
	memcpy(copy, region_slot(r, slot), n);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	// Between reading slot and size the next image may have come in: then the copy is of
	// another generation than was asked for, or torn. The image says itself which one it is.
	const struct policy_head *head = copy;
	if (__atomic_load_n(&h->generation, __ATOMIC_ACQUIRE) != want || head->generation != want) {
		free(copy);
		return NULL;
	}
	__atomic_store_n(&h->taken_generation, want, __ATOMIC_RELEASE);
	*size = n;
	*generation = want;
	return copy;
}
