// SPDX-License-Identifier: Apache-2.0
// bytes: big-endian integers as types, so that a missing byte swap does not compile.
#pragma once

#include <string.h>

#include "control/base/check.h"

typedef struct {
	uint16_t raw;
} be16;
typedef struct {
	uint32_t raw;
} be32;

static inline uint16_t
be16_get(be16 v)
{
	return __builtin_bswap16(v.raw);
}

static inline uint32_t
be32_get(be32 v)
{
	return __builtin_bswap32(v.raw);
}

static inline be16
be16_of(uint16_t v)
{
	return (be16){__builtin_bswap16(v)};
}

static inline be32
be32_of(uint32_t v)
{
	return (be32){__builtin_bswap32(v)};
}

static inline uint16_t
load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
load_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void
store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void
store_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}
