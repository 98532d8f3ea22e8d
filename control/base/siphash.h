// SPDX-License-Identifier: Apache-2.0
// siphash: SipHash-1-3 (64 bit), a keyed hash for tables whose keys a peer can choose, and the
// checksum of the policy image (there with a fixed key: it finds damage, not malice).
#pragma once

#include "control/base/check.h"

struct siphash_key {
	uint64_t k0, k1;
};

uint64_t siphash13(struct siphash_key key, const void *data, size_t n);
// The same for a message that is in words already: `last` has its final 0 to 7 bytes, and the
// length modulo 256 in the top byte.
uint64_t siphash13_words(struct siphash_key key, const uint64_t *words, uint32_t count,
			 uint64_t last);
