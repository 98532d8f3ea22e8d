// SPDX-License-Identifier: Apache-2.0
// share: what TCP alone costs of one message: pipeline's exchange without SMTP.
//
// What for: bench_pipeline's row pipeline_tcp_4096. A relay of net and tcp, as a worker has them,
// stands between a client machine and a backend machine; its users count bytes and write as many as
// the appliance would, in the same order. Counted are the TSC cycles of a worker's turn without
// SMTP: net, tcp and the flow table of both halves, those users, and the one copy of the body into
// chunks. Ports and the other machines are not: frames are taken from the wire before a turn and
// put on it after. Who calls it: one thread. Memory: heap. What can go wrong: a CHECK, when an
// exchange does not come to its end.
#pragma once

#include <stdint.h>

struct share;

struct share *share_open(void);
void share_close(struct share **sp);
double share_run(struct share *s, uint64_t count); // cycles a message
void share_rest(struct share *s);                  // until TIME_WAIT has run out
