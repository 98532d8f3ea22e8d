// SPDX-License-Identifier: Apache-2.0
// eal: DPDK's environment, started from the policy; and memory of a NUMA node for a worker.
//
// What for: one place that knows DPDK's command line. Who calls it: boot, in the main thread; the
// mem_source of a worker is used by that worker's thread only. Memory: the argument texts live in
// struct eal_args. What can go wrong: a CPU that this process may not use, a device text that is
// too long, DPDK refusing: false and a reason.
#pragma once

#include "control/abi/policy.h"
#include "control/base/mem.h"
#include "control/base/strbuf.h"

#define EAL_ARGS_MAX (24 + 2 * POLICY_PORTS_MAX)
#define EAL_ARG_SIZE 512

struct eal_args {
	uint32_t count;
	char *argv[EAL_ARGS_MAX + 1];
	char text[EAL_ARGS_MAX][EAL_ARG_SIZE];
	char run_dir[EAL_ARG_SIZE];
};

struct eal_memory { // anonymous memory on one node, given back page by page
	struct mem_source source;
	int node; // -1: anywhere
	uint64_t bytes;
};

// What DPDK would only call "Cannot allocate memory" or "No such device": an interface that is not
// there, an argument that its driver does not know, hugepages that are not free.
must_use bool eal_check(const struct policy_view *v, struct strbuf *why);
must_use bool eal_device_check(const char *device, struct strbuf *why); // net_af_packet's text
// Free hugepages of all sizes below `dir` (/sys/kernel/mm/hugepages), in MiB; -1: it cannot be
// read.
int64_t eal_hugepages_free_mib(const char *dir);
// DPDK's arguments: lcore 0 is the main thread, lcore 1 + i worker i. run_dir makes names unique.
must_use bool eal_args_build(struct eal_args *a, const struct policy_view *v, const char *run_dir,
			     struct strbuf *why);
must_use bool eal_start(struct eal_args *a, struct strbuf *why);
void eal_stop(void);
// The ethdev number of policy port i, after eal_start.
must_use bool eal_port_find(const struct policy_view *v, uint32_t i, uint16_t *id,
			    struct strbuf *why);
int eal_cpu_node(uint32_t cpu);          // -1: unknown
uint64_t eal_memory_available_mib(void); // what the machine has left; 0: it cannot be read
void eal_memory_init(struct eal_memory *m, int node);
