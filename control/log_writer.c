// SPDX-License-Identifier: Apache-2.0
#include "control/log_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_WRITER_MAGIC 0x4c4f4757u
#define WRITES_MAX 64 // attempts of one flush

struct log_writer {
	uint32_t magic;
	char *path;
	int fd;
	int previous_fd; // -1: none
	struct log_stats stats;
	uint32_t len;
	char buffer[LOG_BUFFER_BYTES];
};

static int
file_open(const char *path, struct strbuf *why)
{
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

	if (fd < 0)
		strbuf_addf(why, "%s: %s", path, strerror(errno));
	return fd;
}

// A crash may have left half a line: it gets an end, so that the next line stands alone.
static void
line_end_repair(struct log_writer *w)
{
	struct stat st;
	char last = '\n';

	if (fstat(w->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return;
	if (pread(w->fd, &last, 1, st.st_size - 1) == 1 && last != '\n' &&
	    write(w->fd, "\n", 1) != 1)
		w->stats.errors++;
}

struct log_writer *must_use
log_writer_open(const char *path, struct strbuf *why)
{
	CHECK(path != NULL && why != NULL);
	int fd = file_open(path, why);
	if (fd < 0)
		return NULL;
	struct log_writer *w = calloc(1, sizeof(*w));
	char *copy = strdup(path);
	if (w == NULL || copy == NULL) {
		strbuf_add_str(why, "out of memory");
		free(w);
		free(copy);
		close(fd);
		return NULL;
	}
	w->magic = LOG_WRITER_MAGIC;
	w->path = copy;
	w->fd = fd;
	w->previous_fd = -1;
	line_end_repair(w);
	return w;
}

void
log_writer_close(struct log_writer **w)
{
	CHECK(w != NULL);
	if (*w == NULL)
		return;
	OBJ_CHECK(*w, LOG_WRITER_MAGIC);
	(void)log_writer_flush(*w); // nobody is left to be told
	close((*w)->fd);
	if ((*w)->previous_fd >= 0)
		close((*w)->previous_fd);
	(*w)->magic = 0;
	free((*w)->path);
	free(*w);
	*w = NULL;
}

void
log_writer_put(struct log_writer *w, const struct logrec *r)
{
	char line[LOG_LINE_MAX];
	struct strbuf b;

	OBJ_CHECK(w, LOG_WRITER_MAGIC);
	strbuf_init(&b, line, sizeof(line));
	log_line_format(&b, r);
	CHECK(!b.truncated);
	w->stats.lines++;
	if (b.len > sizeof(w->buffer) - w->len)
		(void)log_writer_flush(w); // the caller's own flush reports what is wrong
	if (b.len > sizeof(w->buffer) - w->len) {
		w->stats.lost++;
		return;
	}
	memcpy(w->buffer + w->len, b.p, b.len);
	w->len += b.len;
}

// Bytes of the buffer's first `n` that are whole lines.
static uint32_t
whole_lines(const struct log_writer *w, uint32_t n)
{
	CHECK(n <= w->len);
	const char *end = n == 0 ? NULL : memrchr(w->buffer, '\n', n);

	return end == NULL ? 0 : (uint32_t)(end - w->buffer) + 1;
}

// The write stopped inside a line. Taking its first part back works on a full disk; on what is not
// a file it does not, and then the rest of the line simply follows later.
static uint32_t
partial_take_back(struct log_writer *w, uint32_t done)
{
	uint32_t whole = whole_lines(w, done);
	struct stat st;

	if (whole == done || fstat(w->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return done;
	off_t part = (off_t)(done - whole);
	if (st.st_size < part || ftruncate(w->fd, st.st_size - part) != 0)
		return done;
	return whole;
}

int
log_writer_flush(struct log_writer *w)
{
	uint32_t done = 0;
	int error = 0;

	OBJ_CHECK(w, LOG_WRITER_MAGIC);
	CHECK(w->len <= sizeof(w->buffer));
	for (uint32_t i = 0; i < WRITES_MAX && done < w->len; i++) {
		ssize_t n = write(w->fd, w->buffer + done, w->len - done);
		if (n > 0) {
			done += (uint32_t)n;
		} else if (n == 0 || errno != EINTR) {
			error = n == 0 ? ENOSPC : errno;
			break;
		}
	}
	if (done < w->len)
		done = partial_take_back(w, done);
	memmove(w->buffer, w->buffer + done, w->len - done);
	w->len -= done;
	if (error != 0)
		w->stats.errors++;
	return -error;
}

must_use bool
log_writer_reopen(struct log_writer *w, struct strbuf *why)
{
	OBJ_CHECK(w, LOG_WRITER_MAGIC);
	(void)log_writer_flush(w); // what cannot go to the old file goes to the new one
	int fd = file_open(w->path, why);
	if (fd < 0)
		return false;
	if (w->previous_fd >= 0)
		close(w->previous_fd);
	w->previous_fd = w->fd;
	w->fd = fd;
	line_end_repair(w);
	return true;
}

struct log_stats
log_writer_stats(const struct log_writer *w)
{
	OBJ_CHECK(w, LOG_WRITER_MAGIC);
	struct log_stats s = w->stats;

	s.waiting_bytes = w->len;
	return s;
}

const char *
log_writer_path(const struct log_writer *w)
{
	OBJ_CHECK(w, LOG_WRITER_MAGIC);
	return w->path;
}

int
log_writer_read_fd(const struct log_writer *w, bool previous)
{
	OBJ_CHECK(w, LOG_WRITER_MAGIC);
	return previous ? w->previous_fd : w->fd;
}
