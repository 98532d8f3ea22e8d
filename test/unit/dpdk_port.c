// SPDX-License-Identifier: Apache-2.0
// Tests of what is made of DPDK: its arguments, and a real port (net_ring looped back on itself, no
// root, no hugepages).

#include <criterion/criterion.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/abi/policy_build.h"
#include "control/base/bytes.h"
#include "dataplane/eal.h"
#include "dataplane/ifaces.h"
#include "dataplane/port_dpdk.h"
#include "test/unit/dpdk_rig.h"

#define DEVICE "net_ring0"

static uint32_t
some_cpu(uint32_t nth) // of those that we may use; wraps
{
	cpu_set_t ours;
	uint32_t seen = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(ours), &ours), 0);
	nth %= (uint32_t)CPU_COUNT(&ours);
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &ours) && seen++ == nth)
			return cpu;
	cr_assert(false, "no CPU");
	return 0;
}

struct made {
	void *image;
	struct policy_view view;
};

static struct policy_str
text(struct policy_build *b, const char *s)
{
	return policy_build_str(b, span_str(s));
}

static void
policy_make(struct made *m, const char *const *device, uint32_t devices, const uint32_t *cpu,
	    uint32_t cpus, bool hugepages)
{
	struct policy_build *b = policy_build_open();
	char mem[200];
	struct strbuf why;
	size_t size;

	policy_build_settings(b)->machine_memory_mib = 128;
	policy_build_settings(b)->machine_hugepages = hugepages;
	for (uint32_t i = 0; i < devices; i++) {
		char name[2] = {(char)('a' + i), 0};
		const struct policy_port p = {
			.name = text(b, name),
			.device = text(b, device[i]),
			.vlan = i, // some test with the same device twice
			.addr_count = 1,
			.addr = {{.addr = ipaddr_v4(0x0a000001 + (i << 8)), .prefix_bits = 120}},
		};
		policy_build_row(b, POLICY_PORTS, &p, sizeof(p));
	}
	for (uint32_t i = 0; i < cpus; i++) {
		const struct policy_core c = {.cpu = cpu[i]};
		policy_build_row(b, POLICY_CORES, &c, sizeof(c));
	}
	const struct policy_listener l = {.tcp_port = 25};
	policy_build_row(b, POLICY_LISTENERS, &l, sizeof(l));
	const struct policy_hop h = {
		.name = text(b, "mail"), .address = ipaddr_v4(0x0a000002), .tcp_port = 25};
	policy_build_row(b, POLICY_HOPS, &h, sizeof(h));
	m->image = policy_build_finish(b, 1, &size);
	policy_build_close(&b);
	cr_assert_not_null(m->image);
	strbuf_init(&why, mem, sizeof(mem));
	cr_assert_eq(policy_view_open(&m->view, m->image, size, &why), POLICY_OK, "%s", mem);
}

static bool
has_arg(const struct eal_args *a, const char *want)
{
	for (uint32_t i = 0; i < a->count; i++)
		if (strcmp(a->argv[i], want) == 0)
			return true;
	return false;
}

// --- arguments ---

Test(eal, arguments_follow_the_policy)
{
	static const char *const devices[] = {"net_af_packet0,iface=x0", "net_tap1,iface=t"};
	static const char *const pci[] = {"0000:03:00.0"};
	uint32_t cpu = some_cpu(0);
	struct eal_args *a = calloc(1, sizeof(*a)), *other = calloc(1, sizeof(*other));
	char mem[200];
	struct strbuf why;
	struct made m;

	strbuf_init(&why, mem, sizeof(mem));
	policy_make(&m, devices, 2, &cpu, 1, false);
	cr_assert(eal_args_build(a, &m.view, "/run/one", &why), "%s", mem);
	cr_assert(has_arg(a, "--no-pci"));
	cr_assert(has_arg(a, "--no-huge"));
	cr_assert(has_arg(a, "--no-telemetry"));
	cr_assert(has_arg(a, "128"));
	cr_assert(has_arg(a, "--vdev=net_af_packet0,iface=x0,qpairs=1,framesz=2048,framecnt=1024"));
	cr_assert(has_arg(a, "--vdev=net_tap1,iface=t"));
	cr_assert_null(a->argv[a->count]);
	cr_assert(eal_args_build(other, &m.view, "/run/two", &why));
	cr_assert_str_neq(a->argv[1], other->argv[1], "two run directories, one prefix");
	free(m.image);

	policy_make(&m, pci, 1, &cpu, 1, true);
	cr_assert(eal_args_build(a, &m.view, "/run/one", &why));
	cr_assert(has_arg(a, "-a"));
	cr_assert(has_arg(a, "0000:03:00.0"));
	cr_assert(has_arg(a, "--in-memory"));
	cr_assert(!has_arg(a, "--no-pci") && !has_arg(a, "--no-huge"));
	free(m.image);

	cpu = 1000;
	policy_make(&m, pci, 1, &cpu, 1, true);
	cr_assert(!eal_args_build(a, &m.view, "/run/one", &why), "a CPU that is not there");
	cr_assert_str_eq(mem, "core 1000: this machine or process has no such CPU");
	free(m.image);
	free(a);
	free(other);
}

// Several ports may be VLANs of one device.
Test(eal, each_device_is_named_once)
{
	static const char *const devices[] = {"net_tap0", "0000:03:00.0", "net_tap0", "03:00.0"};
	uint32_t cpu = some_cpu(0), pci = 0, tap = 0;
	struct eal_args *a = calloc(1, sizeof(*a));
	char mem[200];
	struct strbuf why;
	struct made m;

	strbuf_init(&why, mem, sizeof(mem));
	policy_make(&m, devices, 4, &cpu, 1, false);
	cr_assert(eal_args_build(a, &m.view, "/run/one", &why), "%s", mem);
	for (uint32_t i = 0; i < a->count; i++) {
		pci += strcmp(a->argv[i], "-a") == 0;
		tap += strcmp(a->argv[i], "--vdev=net_tap0") == 0;
	}
	cr_assert(pci == 1 && tap == 1);
	free(m.image);
	free(a);
}

Test(eal, devices_that_cannot_work_are_named)
{
	static const struct {
		const char *device, *why; // NULL: fine
	} rows[] = {
		{"net_af_packet0,iface=lo", NULL},
		{"net_af_packet0,iface=lo,qpairs=2,framesz=2048", NULL},
		{"net_ring0,whatever", NULL},
		{"0000:01:00.0", NULL},
		{"net_af_packet0,iface=pst-typo", "interface pst-typo does not exist"},
		{"net_af_packet0,iface=", "interface  does not exist"},
		{"net_af_packet0,iface=../../../../etc/passwd",
		 "interface ../../../../etc/passwd does not exist"},
		{"net_af_packet0,iface=lo,frames=1", "net_af_packet has no argument \"frames\""},
		{"net_af_packet0,ifaze=lo", "net_af_packet has no argument \"ifaze\""},
		{"net_af_packet0", "net_af_packet needs iface=NAME"},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		char mem[256] = "";
		struct strbuf why;
		strbuf_init(&why, mem, sizeof(mem));
		cr_assert_eq(eal_device_check(rows[i].device, &why), rows[i].why == NULL, "%s",
			     rows[i].device);
		cr_assert_str_eq(mem, rows[i].why != NULL ? rows[i].why : "");
	}
}

Test(eal, free_hugepages_are_counted)
{
	char dir[] = "/tmp/dpdk_port.XXXXXX", path[256];
	static const struct {
		const char *kind, *pages;
	} rows[] = {{"hugepages-2048kB", "3\n"}, {"hugepages-1048576kB", "1\n"}, {"other", "9\n"}};
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(eal_hugepages_free_mib("/nowhere"), -1);
	cr_assert_eq(eal_hugepages_free_mib(dir), 0);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, rows[i].kind);
		cr_assert_eq(mkdir(path, 0700), 0);
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", dir, rows[i].kind);
		FILE *f = fopen(path, "w");
		cr_assert_not_null(f);
		fputs(rows[i].pages, f);
		fclose(f);
	}
	cr_assert_eq(eal_hugepages_free_mib(dir), 3 * 2 + 1024);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", dir, rows[i].kind);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%s", dir, rows[i].kind);
		rmdir(path);
	}
	cr_assert_eq(rmdir(dir), 0);
}

Test(eal, memory_is_zeroed_aligned_and_given_back)
{
	struct eal_memory m;

	eal_memory_init(&m, eal_cpu_node(some_cpu(0)));
	uint8_t *small = mem_get(&m.source, 100, "small");
	uint8_t *large = mem_get(&m.source, 3u << 20, "large");
	cr_assert(small != NULL && large != NULL);
	cr_assert_eq((uintptr_t)small % CACHE_LINE, 0);
	for (uint32_t i = 0; i < 3u << 20; i++)
		cr_assert_eq(large[i], 0);
	memset(large, 1, 3u << 20);
	mem_put(&m.source, large, 3u << 20);
	mem_put(&m.source, small, 100);
	cr_assert_eq(m.bytes, 0);
}

// --- a real port ---

struct rig {
	struct made m;
	struct port_dpdk_dev dev;
	struct steer *steer;
	struct port_dpdk port[2];
	struct counters counters[2];
};

static void
rig_open(struct rig *r, uint32_t workers)
{
	static const char *const devices[] = {DEVICE};
	const uint32_t cpu[2] = {some_cpu(0), some_cpu(1)}, node[2] = {0, 0};
	struct eal_args *a = calloc(1, sizeof(*a));
	char mem[1024], dir[] = "/tmp/postern-dpdk-port-XXXXXX";
	struct strbuf why;
	struct port_dpdk_args args = {
		.workers = workers, .node = node, .frames = 2048, .rss_key = ms_key};

	memset(r, 0, sizeof(*r));
	strbuf_init(&why, mem, sizeof(mem));
	cr_assert_not_null(mkdtemp(dir));
	policy_make(&r->m, devices, 1, cpu, workers, false);
	cr_assert(eal_args_build(a, &r->m.view, dir, &why), "%s", mem);
	if (!eal_start(a, &why)) // a sandbox may forbid what DPDK wants
		cr_skip("DPDK cannot start here: %s", mem);
	free(a);
	cr_assert(eal_port_find(&r->m.view, 0, &args.id, &why), "%s", mem);
	cr_assert(port_dpdk_open(&r->dev, &args, &why), "%s", mem);
	if (workers > 1)
		r->steer = steer_open(workers, ms_key, &mem_heap);
	for (uint32_t w = 0; w < workers; w++)
		port_dpdk_init(&r->port[w], &r->dev, w, 0, &r->counters[w], r->steer);
}

static void
rig_close(struct rig *r)
{
	char dir[512];
	struct strbuf b;

	// DPDK's directory is two below ours: eal_stop removes those, we ours.
	strbuf_init(&b, dir, sizeof(dir));
	strbuf_add_str(&b, getenv("RUNTIME_DIRECTORY"));
	for (uint32_t w = 0; w < r->dev.workers; w++)
		cr_assert_eq(rte_mempool_in_use_count(r->dev.pool[w]), 0, "packet buffers lost");
	steer_close(&r->steer);
	port_dpdk_close(&r->dev);
	eal_stop();
	cr_assert_eq(rmdir(dir), 0, "something was left in %s", dir);
	free(r->m.image);
}

static void
send_bytes(struct port *p, const uint8_t *bytes, uint32_t n)
{
	struct frame f;

	cr_assert(p->ops->tx_get(p, &f));
	memcpy(f.data, bytes, n);
	f.len = n;
	p->ops->tx_put(p, &f);
}

static struct rte_mbuf *
raw_mbuf(struct rig *r, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(r->dev.pool[0]);

	cr_assert_not_null(m);
	memset(rte_pktmbuf_append(m, (uint16_t)n), 0x11, n);
	return m;
}

Test(port_dpdk, frames_make_the_round)
{
	struct rig r;
	struct frame got[PORT_BURST];
	uint8_t bytes[PORT_FRAME_SIZE];

	rig_open(&r, 1);
	struct port *p = &r.port[0].port;
	cr_assert_eq(p->mtu, 1500);
	for (uint32_t i = 0; i < PORT_FRAME_SIZE; i++)
		bytes[i] = (uint8_t)(i * 5 + 1);
	cr_assert_eq(p->ops->rx(p, got, PORT_BURST), 0);
	// From long to short: the short ones get buffers that are full of old bytes.
	for (uint32_t n = PORT_FRAME_SIZE; n > 47; n -= n < 100 ? 3 : 47) {
		send_bytes(p, bytes, n);
		cr_assert_eq(p->ops->tx_flush(p), 0);
		cr_assert_eq(p->ops->rx(p, got, PORT_BURST), 1);
		cr_assert_eq(got[0].len, MAX(n, 60));
		cr_assert_eq(got[0].flags, 0, "no NIC has checked anything");
		cr_assert_arr_eq(got[0].data, bytes, n);
		for (uint32_t i = n; i < 60; i++)
			cr_assert_eq(got[0].data[i], 0, "padding shows old bytes");
		p->ops->rx_free(p, &got[0]);
	}
	// A full burst goes by itself, the rest with the flush.
	for (uint32_t i = 0; i < PORT_BURST + 5; i++)
		send_bytes(p, bytes, 100);
	cr_assert_eq(p->ops->rx(p, got, PORT_BURST), PORT_BURST);
	for (uint32_t i = 0; i < PORT_BURST; i++)
		p->ops->rx_free(p, &got[i]);
	cr_assert_eq(p->ops->tx_flush(p), 0);
	cr_assert_eq(p->ops->rx(p, got, PORT_BURST), 5);
	for (uint32_t i = 0; i < 5; i++)
		p->ops->rx_free(p, &got[i]);
	rig_close(&r);
}

Test(port_dpdk, links_that_come_up_are_counted)
{
	struct rig r;

	rig_open(&r, 1);
	const uint32_t *ups = r.port[0].port.link_ups;
	cr_assert_eq(*ups, 1, "net_ring has one from the start");
	for (uint32_t i = 2; i < 5; i++) {
		port_dpdk_link(&r.dev);
		cr_assert_eq(rte_eth_dev_set_link_down(r.dev.id), 0);
		port_dpdk_link(&r.dev);
		port_dpdk_link(&r.dev);
		cr_assert(*ups == i - 1 && !r.dev.link_is_up);
		cr_assert_eq(rte_eth_dev_set_link_up(r.dev.id), 0);
		port_dpdk_link(&r.dev);
		cr_assert(*ups == i && r.dev.link_is_up);
	}
	rig_close(&r);
}

Test(port_dpdk, what_the_nic_cannot_take_is_counted)
{
	struct rig r;
	struct frame got[PORT_BURST];
	uint8_t bytes[60] = {0};
	uint32_t put = 0, dropped = 0, count, back = 0;

	rig_open(&r, 1);
	struct port *p = &r.port[0].port;
	for (; put < 1400; put++)
		send_bytes(p, bytes, 60);
	dropped = p->ops->tx_flush(p);
	cr_assert_gt(dropped, 0, "net_ring has 1024 slots");
	cr_assert_eq(p->ops->tx_flush(p), 0, "said once");
	while ((count = p->ops->rx(p, got, PORT_BURST)) > 0) {
		back += count;
		for (uint32_t i = 0; i < count; i++)
			p->ops->rx_free(p, &got[i]);
	}
	cr_assert_eq(back + dropped, put);
	// Without a buffer tx_get says no, and works again afterwards.
	struct frame held[4096];
	uint32_t n = 0;
	while (n < ARRAY_LEN(held) && p->ops->tx_get(p, &held[n]))
		n++;
	cr_assert_lt(n, ARRAY_LEN(held));
	while (n > 0)
		port_dpdk_frame_free(&held[--n]);
	cr_assert(p->ops->tx_get(p, &held[0]));
	port_dpdk_frame_free(&held[0]);
	rig_close(&r);
}

// What a NIC may deliver, and no layer above is made for.
Test(port_dpdk, odd_mbufs_are_dropped_and_counted)
{
	struct rig r;
	struct frame got[PORT_BURST];

	rig_open(&r, 1);
	struct port *p = &r.port[0].port;
	struct rte_mbuf *m[4] = {raw_mbuf(&r, 100), raw_mbuf(&r, 1519), raw_mbuf(&r, 64),
				 raw_mbuf(&r, 64)};
	cr_assert_eq(rte_pktmbuf_chain(m[0], raw_mbuf(&r, 100)), 0);
	m[2]->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	cr_assert_eq(rte_eth_tx_burst(r.dev.id, 0, m, 4), 4);
	cr_assert_eq(p->ops->rx(p, got, PORT_BURST), 1,
		     "only the last one is an Ethernet frame of ours");
	cr_assert_eq(got[0].len, 64);
	p->ops->rx_free(p, &got[0]);
	cr_assert_eq(r.counters[0].v[COUNTER_ETH_OTHER], 3);
	rig_close(&r);
}

// The largest frame has its tag in it.
Test(port_dpdk, tagged_frame_passes_whole)
{
	static const uint8_t tag[4] = {0x81, 0, 0x0f, 0xfe};
	struct rig r;
	struct frame got[PORT_BURST];

	rig_open(&r, 1);
	struct port *p = &r.port[0].port;
	struct rte_mbuf *m = raw_mbuf(&r, 1518);
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), tag, 4);
	m->ol_flags |= RTE_MBUF_F_RX_VLAN; // the NIC has seen it and left it there
	cr_assert_eq(rte_eth_tx_burst(r.dev.id, 0, &m, 1), 1);
	cr_assert_eq(p->ops->rx(p, got, PORT_BURST), 1);
	cr_assert_eq(got[0].len, 1518);
	cr_assert_arr_eq(got[0].data + 12, tag, 4);
	p->ops->rx_free(p, &got[0]);
	rig_close(&r);
}

// Rows of one device, under whatever names, share a port; every row keeps its own addresses.
Test(ifaces, rows_of_one_device_share_its_port)
{
	struct rig r;
	struct made m;
	struct ifaces f;
	struct net_iface row;
	char mem[200];
	struct strbuf why;
	size_t size;

	strbuf_init(&why, mem, sizeof(mem));
	rig_open(&r, 1);
	struct policy_build *b = policy_build_open();
	policy_build_least(b); // net_null0, which nobody has started
	struct policy_port p = {
		.name = text(b, "tagged"),
		.device = text(b, DEVICE),
		.vlan = 7,
		.addr_count = 2,
		.addr = {{.addr = ipaddr_v4(0x0a000001), .prefix_bits = 120},
			 {.addr = {{0x20, 1, 0x0d, 0xb8, [15] = 1}}, .prefix_bits = 64}},
	};
	policy_build_row(b, POLICY_PORTS, &p, sizeof(p));
	m.image = policy_build_finish(b, 1, &size);
	policy_build_close(&b);
	cr_assert_eq(policy_view_open(&m.view, m.image, size, &why), POLICY_OK, "%s", mem);
	cr_assert(!ifaces_find(&f, &m.view, &why));
	cr_assert_str_eq(mem, "port port0: DPDK has no device net_null0");

	struct policy_port *rows =
		(void *)((uint8_t *)m.image + m.view.head->section[POLICY_PORTS].off);
	rows[0].device = rows[1].device;
	strbuf_reset(&why);
	cr_assert(ifaces_find(&f, &m.view, &why), "%s", mem);
	cr_assert(f.count == 2 && f.port_count == 1);
	cr_assert(f.port[0] == 0 && f.port[1] == 0 && f.first[0] == 0);
	cr_assert_eq(f.id[0], r.dev.id);
	cr_assert(span_eq(ifaces_port_name(&f, 0), SPAN_LIT("port0")));
	cr_assert(ifaces_port_has_v6(&f, 0), "by its second row");
	ifaces_row(&f, 1, &r.port[0].port, &row);
	cr_assert(row.port == &r.port[0].port && row.vlan == 7 && row.addr_count == 2);
	cr_assert_eq(row.addr[1].addr.b[15], 1);
	cr_assert_eq(row.addr[1].prefix_bits, 64);
	ifaces_row(&f, 0, &r.port[0].port, &row);
	cr_assert(row.vlan == 0 && row.addr_count == 1);
	rows[1].addr_count = 1;
	cr_assert(!ifaces_port_has_v6(&f, 0));
	free(m.image);
	rig_close(&r);
}

// The checksum flags count only when the device checks, and only GOOD for both layers.
Test(port_dpdk, checksum_flags_are_believed_only_when_good)
{
	const struct {
		uint64_t flags;
		bool is_good;
	} rows[] = {
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD, true},
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD, false},
		{RTE_MBUF_F_RX_L4_CKSUM_GOOD, false},
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_BAD, false},
		{RTE_MBUF_F_RX_IP_CKSUM_NONE | RTE_MBUF_F_RX_L4_CKSUM_GOOD, false},
		{0, false},
	};
	struct rig r;
	struct frame got;

	rig_open(&r, 1);
	struct port *p = &r.port[0].port;
	for (uint32_t has = 0; has < 2; has++) {
		r.port[0].has_sums = has == 1;
		for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
			struct rte_mbuf *m = raw_mbuf(&r, 64);
			m->ol_flags |= rows[i].flags;
			cr_assert_eq(rte_eth_tx_burst(r.dev.id, 0, &m, 1), 1);
			cr_assert_eq(p->ops->rx(p, &got, 1), 1);
			cr_assert_eq((got.flags & FRAME_SUM_GOOD) != 0, has == 1 && rows[i].is_good,
				     "row %u", i);
			p->ops->rx_free(p, &got);
		}
	}
	rig_close(&r);
}

Test(port_dpdk, foreign_flows_are_handed_over)
{
	struct rig r;
	struct frame got[PORT_BURST];
	struct steer_item item[PORT_BURST];
	uint8_t f[60];
	uint32_t mine = 0, theirs = 0;

	rig_open(&r, 2);
	struct port *p = &r.port[0].port;
	for (uint16_t port = 1000; port < 1020; port++) {
		uint32_t n = tcp_frame(f, 0x0a000002, 0x0a000001, port, 25);
		uint32_t owner = steer_owner(r.steer, span_of(f, n));
		send_bytes(p, f, n);
		p->ops->tx_flush(p);
		uint32_t kept = p->ops->rx(p, got, PORT_BURST);
		uint32_t handed = steer_recv(r.steer, 1, item, PORT_BURST);
		cr_assert_eq(kept, owner == 0);
		cr_assert_eq(handed, owner == 1);
		if (kept == 1) {
			p->ops->rx_free(p, &got[0]);
			mine++;
			continue;
		}
		cr_assert_arr_eq(item[0].frame.data, f, n);
		cr_assert_eq(item[0].frame.flags, 0);
		port_dpdk_frame_free(&item[0].frame);
		theirs++;
	}
	cr_assert(mine > 0 && theirs > 0);
	cr_assert_eq(r.counters[0].v[COUNTER_HANDOFF_OUT], theirs);
	store_be16(f + 12, 0x0806);
	send_bytes(p, f, 60);
	p->ops->tx_flush(p);
	cr_assert_eq(p->ops->rx(p, got, PORT_BURST), 1, "who got the ARP frame answers it");
	cr_assert_eq(got[0].flags, 0);
	cr_assert_eq(steer_recv(r.steer, 1, item, PORT_BURST), 1);
	cr_assert_eq(item[0].frame.flags, FRAME_LEARN_ONLY);
	cr_assert_arr_eq(item[0].frame.data, f, 60);
	cr_assert_neq(item[0].frame.data, got[0].data);
	p->ops->rx_free(p, &got[0]);
	port_dpdk_frame_free(&item[0].frame);
	// The other ring full: dropped and counted, nothing lost for good.
	for (uint16_t port = 1000; r.counters[0].v[COUNTER_HANDOFF_FULL] < 3; port++) {
		send_bytes(p, f, tcp_frame(f, 0x0a000002, 0x0a000001, port, 25));
		p->ops->tx_flush(p);
		if (p->ops->rx(p, got, PORT_BURST) == 1)
			p->ops->rx_free(p, &got[0]);
	}
	while (steer_recv(r.steer, 1, item, 1) == 1)
		port_dpdk_frame_free(&item[0].frame);
	rig_close(&r);
}

// gVNIC and ENA take our key and begin with another value than zero, mlx5 may sort source and
// destination: what a NIC calls a flow's hash says nothing about where we look for its replies.
Test(port_dpdk, the_hash_of_a_nic_is_not_believed)
{
	struct rig r;
	struct frame got[PORT_BURST];
	struct steer_item item[PORT_BURST];
	uint8_t f[60];
	uint32_t hash = 0, handed = 0;

	rig_open(&r, 2);
	r.dev.has_rss = true;
	port_dpdk_init(&r.port[0], &r.dev, 0, 0, &r.counters[0], r.steer);
	struct port *p = &r.port[0].port;
	for (uint16_t port = 1000; port < 1020; port++, hash++) {
		const struct tcp_path path = {.laddr = ipaddr_v4(0x0a000001),
					      .raddr = ipaddr_v4(0x0a000002),
					      .lport = 25,
					      .rport = port};
		uint32_t n = tcp_frame(f, 0x0a000002, 0x0a000001, port, 25);
		struct rte_mbuf *m = raw_mbuf(&r, n);
		memcpy(rte_pktmbuf_mtod(m, uint8_t *), f, n);
		m->hash.rss = hash;
		m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
		cr_assert_eq(rte_eth_tx_burst(r.dev.id, 0, &m, 1), 1);
		uint32_t kept = p->ops->rx(p, got, PORT_BURST);
		cr_assert_eq(kept, steer_path_is(r.steer, 0, &path), "port %u", port);
		if (kept == 1)
			p->ops->rx_free(p, &got[0]);
		while (steer_recv(r.steer, 1, item, 1) == 1) {
			port_dpdk_frame_free(&item[0].frame);
			handed++;
		}
	}
	cr_assert(handed > 0 && handed < 20);
	rig_close(&r);
}

struct freeing {
	struct port *p;
	struct frame *f;
	uint32_t n;
};

static int
free_all(void *arg) // on the other worker's lcore
{
	const struct freeing *a = arg;

	for (uint32_t i = 0; i < a->n; i++)
		a->p->ops->rx_free(a->p, &a->f[i]);
	return 0;
}

// A frame that another worker has freed is here again at once. In the cache of his core it would be
// lost to us: with many workers such caches hold more than the pool has, and receiving ends.
Test(port_dpdk, handed_frames_come_back_to_their_pool)
{
	static struct frame held[4096];
	struct rig r;
	uint32_t n = 0;

	rig_open(&r, 2);
	struct port *mine = &r.port[0].port;
	while (n < ARRAY_LEN(held) && mine->ops->tx_get(mine, &held[n]))
		n++;
	cr_assert_lt(n, ARRAY_LEN(held));
	struct freeing a = {&r.port[1].port, held, 300};
	cr_assert_eq(rte_eal_remote_launch(free_all, &a, 2), 0);
	rte_eal_mp_wait_lcore();
	for (uint32_t i = 0; i < 300; i++)
		cr_assert(mine->ops->tx_get(mine, &held[i]), "only %u of 300 came back", i);
	while (n > 0)
		port_dpdk_frame_free(&held[--n]);
	rig_close(&r);
}

// IPv6 asks for 1280 of every link (RFC 8200 5); net.c relies on it.
Test(port_dpdk, an_mtu_too_small_for_ipv6_is_refused_with_a_reason)
{
	struct rig r;
	const uint32_t node[1] = {0};
	struct port_dpdk_args args = {.workers = 1, .node = node, .frames = 64};
	struct port_dpdk_dev d;
	char mem[200];
	struct strbuf why;

	rig_open(&r, 1);
	cr_assert_eq(rte_eal_hotplug_add("vdev", "net_null7", ""), 0);
	cr_assert_eq(rte_eth_dev_get_port_by_name("net_null7", &args.id), 0);
	const struct rte_eth_conf conf = {.rxmode.mtu = 1279};
	cr_assert_eq(rte_eth_dev_configure(args.id, 1, 1, &conf), 0);
	strbuf_init(&why, mem, sizeof(mem));
	args.has_groups = true;
	cr_assert(!port_dpdk_open(&d, &args, &why), "MTU %u", d.mtu);
	cr_assert_not_null(strstr(mem, "its MTU of 1279 is below 1280"), "%s", mem);
	args.has_groups = false;
	cr_assert(port_dpdk_open(&d, &args, &why), "%s", mem);
	cr_assert_eq(d.mtu, 1279);
	port_dpdk_close(&d);
	rig_close(&r);
}

Test(port_dpdk, too_many_workers_are_refused_with_a_reason)
{
	struct rig r;
	uint32_t node[STEER_WORKERS_MAX] = {0};
	struct port_dpdk_dev d;
	char mem[200];
	struct strbuf why;

	rig_open(&r, 1);
	const struct port_dpdk_args args = {
		.id = r.dev.id, .workers = 20, .node = node, .frames = 64, .rss_key = ms_key};
	strbuf_init(&why, mem, sizeof(mem));
	cr_assert(!port_dpdk_open(&d, &args, &why));
	cr_assert_not_null(strstr(mem, "queues for 20 workers"), "%s", mem);
	rig_close(&r);
}
