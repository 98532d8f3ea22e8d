// SPDX-License-Identifier: Apache-2.0
// dpdk_rig: what the tests of spreading and of ports share: a key, and a frame.
//
// Who calls it: the tests dpdk_*. Memory: none. What can go wrong: nothing.
#pragma once

#include <string.h>

#include "control/base/bytes.h"
#include "dataplane/steer.h"

// Microsoft's "Verifying the RSS Hash Calculation": IPv4 with TCP ports.
static const uint8_t ms_key[STEER_KEY_SIZE] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static inline uint32_t
tcp_frame(uint8_t *f, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	memset(f, 0, 60);
	store_be16(f + 12, 0x0800);
	f[14] = 0x45;
	store_be16(f + 16, 40);
	f[23] = 6;
	store_be32(f + 26, src);
	store_be32(f + 30, dst);
	store_be16(f + 34, sport);
	store_be16(f + 36, dport);
	return 60;
}
