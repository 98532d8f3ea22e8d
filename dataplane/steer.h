// SPDX-License-Identifier: Apache-2.0
// steer: which worker owns a flow, and the rings by which a frame gets there.
//
// What for: NICs without a hash that we can foresee (af_packet's fanout, one-queue devices) bring
// frames to any worker; sessions live on one. The hash is Toeplitz with our key over (source,
// destination, source port, destination port) of either IP version, as NICs do it, so a NIC that
// takes our key and table brings frames to the right worker, and port_is_mine can choose local
// ports whose replies come home. What a NIC tells of its hash is not believed: ENA's begins with
// another value than zero, mlx5's may be the same both ways, and a connection would wait for
// replies that another worker gets. Who calls it: steer_owner any worker; steer_send the sending
// and steer_recv the receiving worker only. Memory: one spsc ring a pair of workers, at boot. What
// can go wrong: ring full: the frame is dropped by the sender (HANDOFF_FULL), TCP sends it again.
// With one worker there is no struct steer.
#pragma once

#include "control/base/ipaddr.h"
#include "control/base/spsc.h"
#include "dataplane/port.h"
#include "dataplane/tcp.h"

#define STEER_WORKERS_MAX 32
#define STEER_KEY_SIZE 52 // bytes of the hash key; NICs use 40 or 52 of them
#define STEER_TABLE 64u   // the low bits of the hash choose one of so many entries: entry % workers
#define STEER_RING 1024u  // frames on the way from one worker to another
#define STEER_LOCAL UINT32_MAX      // no flow: whoever got it keeps it
#define STEER_ALL (UINT32_MAX - 1u) // ARP and neighbour discovery: every worker learns from it

struct steer_item {
	struct frame frame;
	uint32_t iface;
};

struct steer;

// Do ports alone reach every entry of the table? Keys at random fail in one case of a few: with two
// workers and 2^-10 of them no local port at all would bring replies to the second one. A good key
// has each entry among any STEER_PORT_RUN ports in a row, ours or a peer's, under either IP
// version.
#define STEER_PORT_RUN 2047u
must_use bool steer_key_is_good(const uint8_t key[STEER_KEY_SIZE]);
// key: a good one.
struct steer *must_use steer_open(uint32_t workers, const uint8_t key[STEER_KEY_SIZE],
				  struct mem_source *mem);
void steer_close(struct steer **s);          // the rings must be empty
uint32_t steer_count(const struct steer *s); // workers
uint32_t steer_hash(const struct steer *s, uint32_t src, uint32_t dst, uint16_t sport,
		    uint16_t dport);
uint32_t steer_hash6(const struct steer *s, const uint8_t src[16], const uint8_t dst[16],
		     uint16_t sport, uint16_t dport);
uint32_t steer_worker(const struct steer *s, uint32_t hash);
// The owner of a received frame, STEER_LOCAL or STEER_ALL. An ICMP error goes to the owner of the
// segment that it quotes.
uint32_t steer_owner(const struct steer *s, struct span frame);
// Do the replies of this flow come to `worker`?
bool steer_path_is(const struct steer *s, uint32_t worker, const struct tcp_path *path);
must_use bool steer_send(struct steer *s, uint32_t from, uint32_t to,
			 const struct steer_item *item);
uint32_t steer_recv(struct steer *s, uint32_t to, struct steer_item *out, uint32_t most);
