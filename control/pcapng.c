// SPDX-License-Identifier: Apache-2.0
#include "control/pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u
#define OPT_COMMENT 1u
#define OPT_FLAGS 2u
#define FLAGS_IN 1u
#define FLAGS_OUT 2u

// A block is made whole in memory and written at once: a full disk never leaves half a block that a
// later one would follow.
struct block {
	uint8_t data[PCAPNG_FRAME_MAX + 128];
	uint32_t size;
};

static void
add(struct block *b, const void *p, uint32_t n)
{
	uint32_t padded = (n + 3) & ~3u;

	CHECK(padded <= sizeof(b->data) - b->size);
	if (n > 0)
		memcpy(b->data + b->size, p, n);
	memset(b->data + b->size + n, 0, padded - n);
	b->size += padded;
}

static void
add_u32(struct block *b, uint32_t v) // in our own byte order, as the magic tells
{
	add(b, &v, 4);
}

static void
add_option(struct block *b, uint16_t code, struct span value)
{
	const uint16_t head[2] = {code, (uint16_t)value.n};

	add(b, head, 4);
	add(b, value.p, value.n);
}

static void
block_begin(struct block *b, uint32_t type)
{
	b->size = 0;
	add_u32(b, type);
	add_u32(b, 0); // length, see block_write
}

static bool
block_write(struct pcapng *p, struct block *b)
{
	uint32_t size = b->size + 4;

	memcpy(b->data + 4, &size, 4);
	add_u32(b, size);
	if (p->bytes + size > PCAPNG_BYTES_MAX || fwrite(b->data, size, 1, p->file) != 1 ||
	    fflush(p->file) != 0) {
		pcapng_close(p);
		return false;
	}
	p->bytes += size;
	return true;
}

bool
pcapng_open(struct pcapng *p, const char *path, const char *comment, struct strbuf *why)
{
	const uint16_t version[2] = {1, 0};
	const uint64_t unknown = UINT64_MAX;
	struct block b;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	*p = (struct pcapng){0};
	if (fd >= 0)
		p->file = fdopen(fd, "wb");
	if (p->file == NULL) {
		strbuf_addf(why, "cannot make %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	block_begin(&b, BLOCK_SECTION);
	add_u32(&b, BYTE_ORDER_MAGIC);
	add(&b, version, 4);
	add(&b, &unknown, 8);
	add_option(&b, OPT_COMMENT, span_str(comment));
	add_u32(&b, 0);
	bool is_good = block_write(p, &b);
	block_begin(&b, BLOCK_INTERFACE);
	add_u32(&b, LINKTYPE_ETHERNET);
	add_u32(&b, PCAPNG_FRAME_MAX);
	if (is_good && block_write(p, &b))
		return true;
	strbuf_addf(why, "cannot write to %s: %s", path, strerror(errno));
	return false;
}

bool
pcapng_frame(struct pcapng *p, struct span frame, uint64_t unix_us, bool is_out)
{
	struct block b;
	uint32_t flags = is_out ? FLAGS_OUT : FLAGS_IN;

	if (p->file == NULL)
		return false;
	frame.n = MIN(frame.n, PCAPNG_FRAME_MAX);
	block_begin(&b, BLOCK_PACKET);
	add_u32(&b, 0); // the interface
	add_u32(&b, (uint32_t)(unix_us >> 32));
	add_u32(&b, (uint32_t)unix_us);
	add_u32(&b, frame.n);
	add_u32(&b, frame.n);
	add(&b, frame.p, frame.n);
	add_option(&b, OPT_FLAGS, span_of(&flags, 4));
	add_u32(&b, 0);
	if (!block_write(p, &b))
		return false;
	p->frames++;
	return true;
}

void
pcapng_close(struct pcapng *p)
{
	if (p->file != NULL)
		(void)fclose(p->file); // each block was flushed: nothing is left to fail
	p->file = NULL;
}
