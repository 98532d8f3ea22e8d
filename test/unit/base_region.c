// SPDX-License-Identifier: Apache-2.0
// Tests of the shared region, in a directory of their own: create, adopt, replace, refuse, publish,
// take.
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/abi/policy_build.h"
#include "control/abi/region.h"

static char dir[64], path[96], why_mem[256];
static struct strbuf why;

static void
setup(void)
{
	strbuf_init(&why, why_mem, sizeof(why_mem));
	snprintf(dir, sizeof(dir), "/tmp/postern-region-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/region", dir);
}

static void
teardown(void)
{
	unlink(path);
	cr_assert_eq(rmdir(dir), 0, "something was left in %s", dir);
}

TestSuite(region, .init = setup, .fini = teardown);

static uint64_t
monotonic_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void *
image_of(uint64_t generation, size_t *size)
{
	struct policy_build *b = policy_build_open();
	policy_build_least(b);
	void *image = policy_build_finish(b, generation, size);
	policy_build_close(&b);
	cr_assert_not_null(image);
	return image;
}

static void
create(struct region *r)
{
	cr_assert_eq(region_create(r, path, false, &why), 0, "%s", why_mem);
}

static void
poke(uint64_t off, const void *bytes, size_t n)
{
	int fd = open(path, O_RDWR);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, bytes, n, (off_t)off), (ssize_t)n);
	close(fd);
}

Test(region, create_and_attach)
{
	struct region r, a;
	cr_assert_eq(region_attach(&a, path, &why), -ENOENT);
	create(&r);
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_lt(st.st_blocks * 512, 4 << 20, "sparse");
	cr_assert_eq(region_attach(&a, path, &why), 0, "%s", why_mem);
	struct ring put, get;
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		cr_assert(region_events(&a, w, &put));
		cr_assert(region_events(&r, w, &get));
		struct logrec rec;
		logrec_init(&rec);
		rec.session_id = w;
		cr_assert(ring_put(&put, &rec));
		cr_assert(ring_get(&get, &rec) && rec.session_id == w);
		cr_assert(region_commands(&r, w, &put));
		cr_assert(region_commands(&a, w, &get));
		struct command c = {.kind = COMMAND_SESSION_LIST, .request = w};
		cr_assert(ring_put(&put, &c));
		cr_assert(ring_get(&get, &c) && c.request == w);
		COUNT(region_counters(&a, w), SESSIONS);
		cr_assert_eq(counter_read(&region_counters(&r, w)->v[COUNTER_SESSIONS]), 1);
	}
	region_detach(&a);
	region_detach(&a);
	region_detach(&r);
}

Test(region, parts_do_not_overlap)
{
	struct region r;
	create(&r);
	// The last byte of each part, then every first byte: each still holds its own.
	uint8_t *part[2 + 2 * REGION_WORKERS_MAX];
	size_t bytes[ARRAY_LEN(part)];
	uint32_t n = 0;
	for (uint32_t s = 0; s < REGION_SLOTS; s++, n++) {
		part[n] = region_slot(&r, s);
		bytes[n] = POLICY_IMAGE_MAX;
	}
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		struct ring e, c;
		cr_assert(region_events(&r, w, &e) && region_commands(&r, w, &c));
		part[n] = (uint8_t *)region_counters(&r, w);
		bytes[n++] = sizeof(struct counters);
		part[n] = (uint8_t *)e.head;
		bytes[n++] = ring_bytes(LOGREC_SIZE, REGION_EVENT_SLOTS);
		cr_assert_geq((uint8_t *)c.head, part[n - 1] + bytes[n - 1]);
	}
	cr_assert_geq(part[0], r.base + sizeof(struct region_head));
	for (uint32_t i = 0; i + 1 < n; i++)
		cr_assert_leq(part[i] + bytes[i], part[i + 1], "part %u", i);
	cr_assert_leq(part[n - 1] + bytes[n - 1], r.base + r.size);
	region_detach(&r);
}

Test(region, adopted_with_its_contents)
{
	struct region r;
	create(&r);
	struct ring ring;
	struct logrec rec;
	logrec_init(&rec);
	rec.session_id = 77;
	cr_assert(region_events(&r, 3, &ring));
	cr_assert(ring_put(&ring, &rec));
	COUNT_N(region_counters(&r, 3), MESSAGES, 5);
	region_detach(&r);
	create(&r);
	cr_assert(region_events(&r, 3, &ring));
	cr_assert(ring_get(&ring, &rec) && rec.session_id == 77);
	cr_assert_eq(region_counters(&r, 3)->v[COUNTER_MESSAGES], 5);
	region_detach(&r);
}

Test(region, incomplete_files_are_waited_for)
{
	struct region a;
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	cr_assert_eq(region_attach(&a, path, &why), -EAGAIN);
	cr_assert_eq(ftruncate(fd, 100), 0);
	cr_assert_eq(region_attach(&a, path, &why), -EAGAIN);
	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	cr_assert_eq(region_attach(&a, path, &why), -EAGAIN, "magic 0");
	close(fd);
}

// For each damaged head: refused by the dataplane; posternd replaces it, but not under a live
// dataplane.
static void
damaged(uint64_t off, const void *bytes, size_t n, int attach_says)
{
	struct region r, a;
	unlink(path);
	create(&r);
	COUNT(region_counters(&r, 0), SESSIONS);
	region_detach(&r);
	poke(off, bytes, n);
	strbuf_reset(&why);
	cr_assert_eq(region_attach(&a, path, &why), attach_says, "offset %lu: %s", off, why_mem);
	cr_assert_gt(why.len, 0);
	cr_assert_eq(region_create(&r, path, true, &why), -EBUSY);
	cr_assert_null(r.base);
	strbuf_reset(&why);
	create(&r);
	cr_assert_not_null(strstr(why_mem, "; replaced: counters begin at zero"), "%s", why_mem);
	cr_assert_eq(region_counters(&r, 0)->v[COUNTER_SESSIONS], 0, "a new file");
	region_detach(&r);
	cr_assert_eq(region_attach(&a, path, &why), 0);
	region_detach(&a);
}

Test(region, damaged_heads)
{
	uint32_t one = 1, two = 2, other_version = REGION_VERSION + 1, huge = UINT32_MAX;
	uint64_t zero = 0, other = 4097;
#define AT(field) offsetof(struct region_head, field)
	damaged(AT(magic), &other, 8, -EINVAL);
	damaged(AT(magic), &zero, 8, -EAGAIN);
	damaged(AT(version), &other_version, 4, -EINVAL);
	damaged(AT(counter_count), &one, 4, -EINVAL);
	// Of another build: other options or agents, other sizes; 0: from before these fields.
	damaged(AT(layout), &other, 8, -EINVAL);
	damaged(AT(layout), &zero, 8, -EINVAL);
	damaged(AT(counters_size), &(uint64_t){sizeof(struct counters) + 8}, 8, -EINVAL);
	damaged(AT(counters_size), &zero, 8, -EINVAL);
	damaged(AT(head_size), &one, 4, -EINVAL);
	damaged(AT(file_size), &other, 8, -EINVAL);
	damaged(AT(slot_off), &other, 8, -EINVAL);
	damaged(AT(worker_size), &other, 8, -EINVAL);
	damaged(AT(commands_off), &zero, 8, -EINVAL);
	damaged(AT(workers_max), &huge, 4, -EINVAL);
	damaged(AT(active_slot), &two, 4, -EINVAL);
	damaged(AT(image_size), &(uint64_t){UINT64_MAX}, 8, -EINVAL);
	struct region r;
	create(&r);
	uint64_t worker = r.head->worker_off + 5 * r.head->worker_size + r.head->events_off;
	region_detach(&r);
	damaged(worker, &one, 4, -EINVAL); // a ring's magic
	damaged(worker + 4, &one, 4, -EINVAL);
}

Test(region, cut_file_and_foreign_files)
{
	struct region r;
	create(&r);
	region_detach(&r);
	cr_assert_eq(truncate(path, 1 << 20), 0);
	cr_assert_eq(region_attach(&r, path, &why), -EAGAIN);
	create(&r);
	region_detach(&r);
	cr_assert_eq(chmod(path, 0666), 0);
	cr_assert_eq(region_create(&r, path, true, &why), -EBUSY, "open to others");
	create(&r);
	region_detach(&r);
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	// A link in its place is replaced, not followed.
	char target[128];
	snprintf(target, sizeof(target), "%s/target", dir);
	cr_assert_eq(rename(path, target), 0);
	cr_assert_eq(symlink(target, path), 0);
	create(&r);
	region_detach(&r);
	cr_assert_eq(lstat(path, &st), 0);
	cr_assert(S_ISREG(st.st_mode));
	unlink(target);
	cr_assert_eq(region_create(&r, "/nonexistent-dir/region", false, &why), -ENOENT);
}

Test(region, publish_and_take)
{
	struct region r, a;
	create(&r);
	cr_assert_eq(region_attach(&a, path, &why), 0);
	size_t size, got_size;
	uint64_t generation;
	cr_assert_null(region_take(&a, 0, &got_size, &generation));
	uint32_t slot[3];
	for (uint64_t g = 1; g <= 3; g++) {
		void *image = image_of(g, &size);
		cr_assert_eq(region_publish(&r, image, size), 0);
		slot[g - 1] = r.head->active_slot;
		void *got = region_take(&a, g - 1, &got_size, &generation);
		cr_assert_not_null(got);
		cr_assert_eq(generation, g);
		cr_assert(got_size == size && memcmp(got, image, size) == 0);
		cr_assert_eq(r.head->taken_generation, g);
		cr_assert_null(region_take(&a, g, &got_size, &generation));
		free(got);
		free(image);
	}
	cr_assert_neq(slot[0], slot[1]);
	cr_assert_eq(slot[0], slot[2]);
	region_detach(&a);
	region_detach(&r);
}

Test(region, publish_refuses)
{
	struct region r;
	create(&r);
	size_t size;
	void *two = image_of(2, &size), *three = image_of(3, &size), *four = image_of(4, &size);
	cr_assert_eq(region_publish(&r, two, size - 1), -EINVAL);
	cr_assert_eq(region_publish(&r, two, 10), -EINVAL);
	cr_assert_eq(region_publish(&r, two, size), 0);
	cr_assert_eq(region_publish(&r, two, size), -EINVAL, "no newer generation");
	r.head->state = REGION_RUNNING;
	r.head->plane_beat_us = monotonic_us();
	cr_assert_eq(region_publish(&r, three, size), -EBUSY, "2 has not been taken");
	r.head->refused_generation = 2;
	cr_assert_eq(region_publish(&r, three, size), 0);
	cr_assert_eq(region_publish(&r, four, size), -EBUSY);
	r.head->plane_beat_us = monotonic_us() - 3000000;
	cr_assert_eq(region_publish(&r, four, size), 0, "the dataplane is dead");
	void *five = image_of(5, &size);
	r.head->plane_beat_us = monotonic_us();
	r.head->state = REGION_FAILED;
	cr_assert_eq(region_publish(&r, five, size), 0);
	free(two);
	free(three);
	free(four);
	free(five);
	region_detach(&r);
}

Test(region, take_trusts_nothing)
{
	struct region r;
	create(&r);
	size_t size, got_size;
	uint64_t generation;
	void *image = image_of(9, &size);
	cr_assert_eq(region_publish(&r, image, size), 0);
	free(image);
	struct region_head good = *r.head;
	r.head->active_slot = 7;
	cr_assert_null(region_take(&r, 0, &got_size, &generation));
	*r.head = good;
	r.head->image_size = UINT64_MAX;
	cr_assert_null(region_take(&r, 0, &got_size, &generation));
	r.head->image_size = 8;
	cr_assert_null(region_take(&r, 0, &got_size, &generation));
	*r.head = good;
	r.head->generation = 10; // not what the image says itself
	cr_assert_null(region_take(&r, 0, &got_size, &generation));
	cr_assert_eq(r.head->taken_generation, 0);
	*r.head = good;
	void *got = region_take(&r, 8, &got_size, &generation);
	cr_assert_not_null(got);
	free(got);
	region_detach(&r);
}
