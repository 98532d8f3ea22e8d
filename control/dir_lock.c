// SPDX-License-Identifier: Apache-2.0
// dir_lock: see dir_lock.h.
#include "control/dir_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE "posternd.lock"

static int
lock_open(const char *dir, struct strbuf *why)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, LOCK_FILE);

	if (n < 0 || (size_t)n >= sizeof(path)) {
		strbuf_add_str(why, "the path of a directory is too long");
		return -1;
	}
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		strbuf_addf(why, "%s: %s", path, strerror(errno));
	return fd;
}

static bool
is_same_file(int a, int b)
{
	struct stat s, t;

	return fstat(a, &s) == 0 && fstat(b, &t) == 0 && s.st_dev == t.st_dev &&
	       s.st_ino == t.st_ino;
}

bool
dir_lock_take(struct dir_lock *l, const char *run_dir, const char *state_dir, struct strbuf *why)
{
	CHECK(l != NULL);
	CHECK(run_dir != NULL);
	CHECK(state_dir != NULL);
	*l = DIR_LOCK_NONE;
	l->run_fd = lock_open(run_dir, why);
	if (l->run_fd >= 0)
		l->state_fd = lock_open(state_dir, why);
	if (l->run_fd < 0 || l->state_fd < 0) {
		dir_lock_drop(l);
		return false;
	}
	if (flock(l->run_fd, LOCK_EX | LOCK_NB) != 0)
		strbuf_addf(why, "another posternd uses the run directory %s (see %s/posternd.pid)",
			    run_dir, run_dir);
	else if (!is_same_file(l->run_fd, l->state_fd) &&
		 flock(l->state_fd, LOCK_EX | LOCK_NB) != 0)
		strbuf_addf(why,
			    "another posternd, with another run directory, uses the state "
			    "directory %s: give each its own --state-dir",
			    state_dir);
	else
		return true;
	dir_lock_drop(l);
	return false;
}

void
dir_lock_drop(struct dir_lock *l)
{
	CHECK(l != NULL);
	if (l->state_fd >= 0)
		close(l->state_fd);
	if (l->run_fd >= 0)
		close(l->run_fd);
	*l = DIR_LOCK_NONE;
}
