// SPDX-License-Identifier: Apache-2.0
// pcapng: writes captured Ethernet frames into a file that Wireshark, tcpdump and others read
// (draft-ietf-opsawg-pcapng: section header, one interface, enhanced packet blocks).
//
// Who calls it: posternd, for `postern session capture`. Memory: the writer is the caller's struct.
// What can go wrong: the file cannot be made, or the disk is full: the call says so, and the writer
// writes no more; what was written is a whole file. PCAPNG_BYTES_MAX bounds one file.
#pragma once

#include <stdio.h>

#include "control/base/span.h"
#include "control/base/strbuf.h"

#define PCAPNG_BYTES_MAX (64u << 20)
#define PCAPNG_FRAME_MAX 9216u

struct pcapng {
	FILE *file; // NULL: not open
	uint64_t bytes, frames;
};

// Makes `path` (0600; an existing file is refused). False with a reason.
must_use bool pcapng_open(struct pcapng *p, const char *path, const char *comment,
			  struct strbuf *why);
// False: the file is full or broken, and closed now.
must_use bool pcapng_frame(struct pcapng *p, struct span frame, uint64_t unix_us, bool is_out);
void pcapng_close(struct pcapng *p); // safe when not open
