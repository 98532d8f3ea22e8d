// SPDX-License-Identifier: Apache-2.0
// Tests of the worker's edges towards posternd: policies out of the region, commands, reports,
// gauges. A real worker on a wire in memory; the region is a file in /tmp, and the test plays
// posternd.

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/abi/policy_build.h"
#include "dataplane/policy_feed.h"
#include "test/sim/lib/vnet.h"

#define US_ADDR 0x0a000001u

struct rig {
	char dir[64], path[96];
	struct region control, plane; // two mappings of one file, as in two processes
	struct policy_feed feed;
	struct vnet *v;
	struct vnet_link *link;
	struct worker *w;
	uint32_t iface_count; // on its one port, VLANs from the second on; 0: 1
	struct port *port;
	struct ring events, commands; // the worker's ends
	struct ring read, write;      // posternd's ends
	char why_text[256];
	struct strbuf why;
};

struct change {            // what a policy has different from the plain one
	uint16_t tcp_port; // of the listener; 0: 25
	uint32_t address;  // of the port; 0: US_ADDR
	uint32_t cpus;     // 0: 1
	const char *device;
	bool is_v6;
	bool is_bad; // a row that no view lets pass
};

static void *
image_make(uint64_t generation, const struct change *c, size_t *size)
{
	struct policy_build *b = policy_build_open();
	struct policy_settings *s = policy_build_settings(b);
	const char *device = c->device != NULL ? c->device : "net_null0";

	s->machine_sessions_max = 16;
	s->machine_chunks = 256;
	s->machine_scans_max = 4;
	struct policy_port p = {
		.name = policy_build_str(b, SPAN_LIT("a")),
		.device = policy_build_str(b, span_str(device)),
		.addr_count = 1,
		.addr = {{.addr = ipaddr_v4(c->address != 0 ? c->address : US_ADDR),
			  .prefix_bits = 120}},
	};
	if (c->is_v6) {
		cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::1"), &p.addr[0].addr));
		p.addr[0].prefix_bits = 64;
	}
	if (c->is_bad)
		p.vlan = 4095;
	policy_build_row(b, POLICY_PORTS, &p, sizeof(p));
	for (uint32_t i = 0; i < MAX(c->cpus, 1u); i++) {
		const struct policy_core core = {.cpu = i};
		policy_build_row(b, POLICY_CORES, &core, sizeof(core));
	}
	const struct policy_listener l = {.tcp_port = c->tcp_port != 0 ? c->tcp_port : 25};
	policy_build_row(b, POLICY_LISTENERS, &l, sizeof(l));
	const struct policy_hop h = {.name = policy_build_str(b, SPAN_LIT("m")),
				     .address = ipaddr_v4(US_ADDR + 1),
				     .tcp_port = 25};
	policy_build_row(b, POLICY_HOPS, &h, sizeof(h));
	void *image = policy_build_finish(b, generation, size);
	cr_assert_not_null(image);
	policy_build_close(&b);
	return image;
}

static void
publish(struct rig *r, uint64_t generation, const struct change *c)
{
	size_t size;
	void *image = image_make(generation, c, &size);

	cr_assert_eq(region_publish(&r->control, image, size), 0);
	free(image);
}

static enum policy_feed_result
step(struct rig *r)
{
	strbuf_reset(&r->why);
	return policy_feed_step(&r->feed, &r->why);
}

static void
turn(struct rig *r, uint32_t turns)
{
	for (uint32_t i = 0; i < turns; i++) {
		vnet_advance(r->v, 1000);
		worker_poll(r->w, vnet_now(r->v), 1700000000000000ull + vnet_now(r->v));
	}
}

static void
rig_open(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	strbuf_init(&r->why, r->why_text, sizeof(r->why_text));
	snprintf(r->dir, sizeof(r->dir), "/tmp/postern-feed-XXXXXX");
	cr_assert_not_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/region", r->dir);
	cr_assert_eq(region_create(&r->control, r->path, false, &r->why), 0, "%s", r->why_text);
	cr_assert_eq(region_attach(&r->plane, r->path, &r->why), 0, "%s", r->why_text);
	r->control.head->control_epoch = 1;
	policy_feed_init(&r->feed, &r->plane);
}

static void
worker_up(struct rig *r)
{
	struct worker_args a = {
		.iface_count = MAX(r->iface_count, 1u),
		.policy = r->feed.policy[0],
		.counters = region_counters(&r->plane, 0),
		.events = &r->events,
		.commands = &r->commands,
		.state = &r->plane.head->worker[0],
		.cpu = 7,
		.seed = 1,
		.mem = &mem_heap,
	};

	cr_assert(region_events(&r->plane, 0, &r->events));
	cr_assert(region_commands(&r->plane, 0, &r->commands));
	cr_assert(region_events(&r->control, 0, &r->read));
	cr_assert(region_commands(&r->control, 0, &r->write));
	r->v = vnet_open(1);
	r->link = vnet_link_open(r->v, NULL, NULL);
	r->port = vnet_port(r->link, VNET_A);
	for (uint32_t i = 0; i < a.iface_count; i++)
		a.ifaces[i] = (struct net_iface){
			.port = r->port,
			.vlan = (uint16_t)i,
			.addr_count = 1,
			.addr = {{.addr = ipaddr_v4(US_ADDR + (i << 8)), .prefix_bits = 120}}};
	r->w = worker_open(&a, vnet_now(r->v), &r->why);
	cr_assert_not_null(r->w, "%s", r->why_text);
	policy_feed_add(&r->feed, r->w);
}

static void
rig_close(struct rig *r)
{
	worker_close(&r->w);
	policy_feed_fini(&r->feed);
	vnet_close(&r->v);
	region_detach(&r->plane);
	region_detach(&r->control);
	unlink(r->path);
	cr_assert_eq(rmdir(r->dir), 0);
}

static const struct change plain;

Test(policy_feed, new_policy_comes_into_force_and_the_old_one_goes)
{
	struct rig r;

	rig_open(&r);
	cr_assert_eq(step(&r), POLICY_FEED_NONE);
	publish(&r, 1, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN, "%s", r.why_text);
	cr_assert_eq(r.control.head->taken_generation, 1);
	worker_up(&r);
	cr_assert_eq(r.control.head->worker[0].generation, 1);
	cr_assert_eq(r.control.head->worker[0].cpu, 7);
	publish(&r, 2, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	cr_assert_eq(r.feed.count, 2);
	cr_assert_eq(step(&r), POLICY_FEED_NONE);
	cr_assert_eq(r.feed.count, 2, "retired while the worker has not switched yet");
	turn(&r, 2);
	cr_assert_eq(r.control.head->worker[0].generation, 2);
	cr_assert_eq(region_counters(&r.control, 0)->v[COUNTER_POLICY_SWITCHES], 1);
	cr_assert_eq(step(&r), POLICY_FEED_NONE);
	cr_assert_eq(r.feed.count, 1);
	cr_assert_eq(r.feed.policy[0]->generation, 2);
	// Two at once: the worker goes to the newest, both old ones end.
	publish(&r, 3, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	publish(&r, 7, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	cr_assert_eq(r.feed.count, 3);
	turn(&r, 2);
	cr_assert_eq(step(&r), POLICY_FEED_NONE);
	cr_assert_eq(r.feed.count, 1);
	cr_assert_eq(r.control.head->worker[0].generation, 7);
	rig_close(&r);
}

// An operator who has changed a port and not restarted yet must still be able to block an address.
Test(policy_feed, what_only_boot_can_set_up_does_not_hinder_the_rest)
{
	static const struct change rows[] = {{.tcp_port = 26},
					     {.address = US_ADDR + 5},
					     {.cpus = 2},
					     {.device = "net_null1"},
					     {.is_v6 = true}};
	struct rig r;

	rig_open(&r);
	publish(&r, 1, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	worker_up(&r);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		publish(&r, 2 + i, &rows[i]);
		cr_assert_eq(step(&r), POLICY_FEED_TAKEN, "row %u: %s", i, r.why_text);
		turn(&r, 2);
		cr_assert_eq(r.control.head->worker[0].generation, 2 + i, "row %u", i);
	}
	rig_close(&r);
}

Test(policy_feed, bad_policy_is_refused_once_and_changes_nothing)
{
	struct rig r;

	rig_open(&r);
	publish(&r, 1, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	worker_up(&r);
	publish(&r, 2, &(struct change){.is_bad = true});
	cr_assert_eq(step(&r), POLICY_FEED_REFUSED);
	cr_assert_eq(r.control.head->refused_generation, 2);
	cr_assert_str_eq(r.control.head->why, r.why_text);
	cr_assert_gt(strlen(r.control.head->why), 0);
	turn(&r, 2);
	cr_assert_eq(r.control.head->worker[0].generation, 1);
	cr_assert_eq(step(&r), POLICY_FEED_NONE, "refused once");
	publish(&r, 20, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	rig_close(&r);
}

Test(policy_feed, damaged_image_is_refused_and_the_next_one_taken)
{
	struct rig r;
	size_t size;

	rig_open(&r);
	publish(&r, 1, &plain);
	// What a dying posternd might leave: a byte of the published image is wrong.
	struct region_head *h = r.control.head;
	region_slot(&r.control, h->active_slot)[h->image_size - 3] ^= 1;
	cr_assert_eq(step(&r), POLICY_FEED_REFUSED);
	cr_assert_eq(h->refused_generation, 1);
	cr_assert_eq(r.feed.count, 0);
	cr_assert_eq(step(&r), POLICY_FEED_NONE, "not looked at again");
	void *image = image_make(2, &(struct change){.is_bad = true}, &size);
	cr_assert_eq(region_publish(&r.control, image, size), 0);
	free(image);
	cr_assert_eq(step(&r), POLICY_FEED_REFUSED, "no such VLAN");
	// A new posternd: the same numbers again, but other bytes.
	h->control_epoch = 2;
	publish(&r, 3, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN, "%s", r.why_text);
	rig_close(&r);
}

static uint32_t polls;
static const struct port_ops *polled;

static uint16_t
counted_rx(struct port *p, struct frame *f, uint16_t most)
{
	polls++;
	return polled->rx(p, f, most);
}

// VLANs of one device are interfaces on one port.
Test(worker, shared_port_is_polled_once_a_turn)
{
	struct rig r;
	struct port_ops ops;

	rig_open(&r);
	publish(&r, 1, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	r.iface_count = 3;
	worker_up(&r);
	polled = r.port->ops;
	ops = *polled;
	ops.rx = counted_rx;
	r.port->ops = &ops;
	turn(&r, 10);
	cr_assert_eq(polls, 10);
	r.port->ops = polled;
	rig_close(&r);
}

Test(worker, commands_are_validated_and_answered)
{
	struct rig r;
	struct command c = {.kind = COMMAND_SESSION_LIST, .request = 77};
	struct logrec rec;
	bool has_end = false;

	rig_open(&r);
	publish(&r, 1, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	worker_up(&r);
	const struct counters *n = region_counters(&r.control, 0);
	cr_assert(ring_put(&r.write, &c));
	turn(&r, 5);
	while (ring_get(&r.read, &rec)) {
		cr_assert(logrec_is_valid(&rec));
		has_end = has_end || (rec.kind == LOGREC_SESSION_END && rec.request == 77);
	}
	cr_assert(has_end);
	cr_assert_eq(n->v[COUNTER_COMMANDS_CONTROL], 1);
	for (uint32_t kind = 0; kind < 5; kind++) {
		c.kind = kind == 1 ? 0xffffffffu : kind == 0 ? 0 : kind + 10;
		cr_assert(ring_put(&r.write, &c));
	}
	turn(&r, 5);
	cr_assert_eq(n->v[COUNTER_COMMANDS_CONTROL_BAD], 5);
	// Indices that another process broke: the ring repairs itself, the worker goes on.
	r.write.head->head += 100000;
	turn(&r, 5);
	cr_assert_eq(n->v[COUNTER_COMMANDS_CONTROL], 6);
	rig_close(&r);
}

Test(worker, shows_that_it_lives)
{
	struct rig r;

	rig_open(&r);
	publish(&r, 1, &plain);
	cr_assert_eq(step(&r), POLICY_FEED_TAKEN);
	worker_up(&r);
	const struct counters *n = region_counters(&r.control, 0);
	cr_assert_eq(n->chunks_cap, 256);
	uint64_t before = r.control.head->worker[0].loops;
	turn(&r, 3000);
	cr_assert_gt(r.control.head->worker[0].loops, before + 1000);
	cr_assert_eq(n->v[COUNTER_LOOPS], 3000);
	cr_assert_leq(n->v[COUNTER_LOOPS_BUSY], 100, "idle loops are not work");
	cr_assert_gt(worker_next_us(r.w), vnet_now(r.v) - 2000);
	rig_close(&r);
}

Test(report, without_ring_or_full_is_counted)
{
	struct counters n = {0};
	struct ring ring;
	struct logrec rec, got;
	uint32_t sent = 0;
	void *mem = calloc(1, ring_bytes(LOGREC_SIZE, 8));
	struct report rep = {.counters = &n, .wall_us = 5, .worker = 3};

	logrec_init(&rec);
	cr_assert(!report_put(&rep, &rec));
	cr_assert_eq(n.v[COUNTER_LOG_LOST], 1);
	ring_format(mem, LOGREC_SIZE, 8);
	cr_assert(ring_attach(&ring, mem, LOGREC_SIZE, 8));
	rep.events = &ring;
	while (report_put(&rep, &rec))
		sent++;
	cr_assert_eq(sent, 8);
	cr_assert_eq(n.v[COUNTER_LOG_RECORDS], 8);
	cr_assert_eq(n.v[COUNTER_LOG_LOST], 2);
	cr_assert(ring_get(&ring, &got));
	cr_assert_eq(got.time_us, 5);
	cr_assert_eq(got.worker, 3);
	free(mem);
}
