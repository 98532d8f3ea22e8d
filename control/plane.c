// SPDX-License-Identifier: Apache-2.0
#include "control/plane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

void
plane_init(struct plane *p, const char *run_dir)
{
	CHECK(p != NULL && run_dir != NULL);
	*p = (struct plane){0};
	int n = snprintf(p->lock_path, sizeof(p->lock_path), "%s/%s", run_dir, PLANE_LOCK_FILE);
	CHECK(n > 0 && (size_t)n < sizeof(p->lock_path)); // main.c has bounded the length of paths
}

void
plane_attach(struct plane *p, const struct region *r)
{
	CHECK(p != NULL && r != NULL && r->head != NULL);
	p->region = r;
}

// A shared lock that cannot be had means that the dataplane holds the exclusive one.
static bool
lock_is_held(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return false;
	bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

bool
plane_check(struct plane *p, uint64_t now_ms)
{
	uint64_t beat_us = 0;

	CHECK(p != NULL);
	if (p->region != NULL)
		beat_us = __atomic_load_n(&p->region->head->plane_beat_us, __ATOMIC_ACQUIRE);
	bool is_known_dead = p->region != NULL && p->checked_ms != 0 && !p->is_alive &&
			     beat_us == p->dead_beat_us;
	p->checked_ms = MAX(now_ms, 1u);
	if (is_known_dead)
		return false;
	p->is_alive = lock_is_held(p->lock_path);
	if (!p->is_alive)
		p->dead_beat_us = beat_us;
	return p->is_alive;
}

bool
plane_poll(struct plane *p, uint64_t now_ms)
{
	CHECK(p != NULL);
	if (p->checked_ms != 0 && now_ms - p->checked_ms < PLANE_CHECK_MS)
		return p->is_alive;
	return plane_check(p, now_ms);
}

uint32_t
plane_workers(const struct plane *p, const struct region *r)
{
	CHECK(p != NULL && r != NULL && r->head != NULL);
	uint32_t n = __atomic_load_n(&r->head->workers, __ATOMIC_ACQUIRE);

	return p->is_alive ? MIN(n, REGION_WORKERS_MAX) : 0;
}

const char *
plane_state_name(const struct plane *p, const struct region *r)
{
	CHECK(p != NULL && r != NULL && r->head != NULL);
	if (!p->is_alive)
		return "down";
	switch (__atomic_load_n(&r->head->state, __ATOMIC_ACQUIRE)) {
	case REGION_WAITING:
		return "waiting for a policy";
	case REGION_BOOTING:
		return "booting";
	case REGION_RUNNING:
		return "running";
	case REGION_FAILED:
		return "failed";
	default:
		return "starting";
	}
}
