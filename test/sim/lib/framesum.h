// SPDX-License-Identifier: Apache-2.0
// framesum: the Internet checksum (RFC 1071) for tests: slow, plain, and not the product's.
//
// Who calls it: what makes or checks frames. Memory: none. What can go wrong: nothing.
#pragma once

#include "control/base/span.h"

// One's complement sum of n bytes on top of `sum`, not folded.
static inline uint64_t
framesum_add(uint64_t sum, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sum += (i & 1) == 0 ? (uint32_t)p[i] << 8 : p[i];
	return sum;
}

// Folded; 0xffff (or 0) over bytes that hold their own right checksum.
static inline uint16_t
framesum_fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// Both at once.
static inline uint16_t
framesum(const uint8_t *p, uint32_t n, uint64_t sum)
{
	return framesum_fold(framesum_add(sum, p, n));
}
