// SPDX-License-Identifier: Apache-2.0
#include "control/log_tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (64u << 10)

must_use bool
log_tail_begin(int fd, struct log_place *out)
{
	struct stat st;

	CHECK(out != NULL);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	*out = (struct log_place){.device = st.st_dev, .inode = st.st_ino, .offset = 0};
	return true;
}

bool
log_tail_is_of(int fd, const struct log_place *p)
{
	struct log_place begin;

	CHECK(p != NULL);
	return log_tail_begin(fd, &begin) && begin.device == p->device && begin.inode == p->inode;
}

// Looks backwards through block[0 .. n) for the newline that ends the line before the last *lines
// ones.
static bool
block_search(const char *block, uint32_t n, uint32_t *lines, uint32_t *at)
{
	for (uint32_t i = n; i > 0; i--) {
		if (block[i - 1] != '\n')
			continue;
		if (*lines == 0) {
			*at = i;
			return true;
		}
		*lines -= 1;
	}
	return false;
}

must_use bool
log_tail_place(int fd, uint32_t lines, struct log_place *out)
{
	struct stat st;

	if (!log_tail_begin(fd, out) || fstat(fd, &st) != 0)
		return false;
	char *block = malloc(BLOCK_BYTES);
	if (block == NULL)
		return false;
	uint64_t end = (uint64_t)st.st_size;
	uint64_t lowest = end > LOG_TAIL_BYTES_MAX ? end - LOG_TAIL_BYTES_MAX : 0;
	uint32_t at = 0, left = MIN(lines, LOG_TAIL_LINES_MAX);
	bool found = false;

	while (end > lowest && !found) {
		uint32_t n = (uint32_t)MIN(end - lowest, (uint64_t)BLOCK_BYTES);
		if (pread(fd, block, n, (off_t)(end - n)) != (ssize_t)n)
			break;
		end -= n;
		found = block_search(block, n, &left, &at);
		// Cut by the limit on bytes: what is left of the first line is skipped.
		if (!found && end == lowest && lowest > 0) {
			const char *nl = memchr(block, '\n', n);
			at = nl == NULL ? n : (uint32_t)(nl - block) + 1;
		}
	}
	out->offset = end + at;
	free(block);
	return true;
}

uint32_t
log_tail_read(int fd, struct log_place *p, log_tail_fn line, void *ctx)
{
	uint32_t count = 0, total = 0;
	struct stat st;

	CHECK(p != NULL && line != NULL);
	if (fd < 0 || fstat(fd, &st) != 0)
		return 0;
	if (p->offset > (uint64_t)st.st_size)
		p->offset = 0;
	char *block = malloc(BLOCK_BYTES);
	while (block != NULL && total < LOG_TAIL_BYTES_MAX && count < LOG_TAIL_LINES_MAX) {
		ssize_t n = pread(fd, block, BLOCK_BYTES, (off_t)p->offset);
		if (n <= 0)
			break;
		uint32_t from = 0;
		while (count < LOG_TAIL_LINES_MAX) {
			const char *nl = memchr(block + from, '\n', (size_t)n - from);
			if (nl == NULL)
				break;
			line(ctx, span_of(block + from, (size_t)(nl - block) - from));
			from = (uint32_t)(nl - block) + 1;
			count++;
		}
		if (from == 0 && n == BLOCK_BYTES) { // not one of our lines: given in pieces
			line(ctx, span_of(block, (size_t)n));
			from = (uint32_t)n;
			count++;
		}
		if (from == 0)
			break;
		p->offset += from;
		total += from;
	}
	free(block);
	return count;
}

void
log_place_format(struct strbuf *b, const struct log_place *p)
{
	strbuf_addf(b, "%" PRIx64 "-%" PRIx64 "-%" PRIx64, p->device, p->inode, p->offset);
}

must_use bool
log_place_parse(const char *text, struct log_place *out)
{
	char again[64];
	struct strbuf b;

	CHECK(text != NULL && out != NULL);
	if (strlen(text) >= sizeof(again) || sscanf(text, "%" SCNx64 "-%" SCNx64 "-%" SCNx64,
						    &out->device, &out->inode, &out->offset) != 3)
		return false;
	// sscanf is lenient (signs, blanks, overflow): only what we write ourselves is taken.
	strbuf_init(&b, again, sizeof(again));
	log_place_format(&b, out);
	return strcmp(again, text) == 0 && out->offset <= INT64_MAX;
}
