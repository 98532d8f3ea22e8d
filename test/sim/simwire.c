// SPDX-License-Identifier: Apache-2.0
// simwire: two network interfaces joined in real time by the simulated wire of vnet.
//
// What for: the Linux kernel and our own stack on one wire with delay, loss, reordering and a rate
// limit, the same for both (sch_netem is not on every kernel). Both directions are impaired alike,
// so delay_us is half of a round trip. ARP passes at once and unharmed: a lost request would stop
// everybody for a second, which says nothing about TCP. It ends on SIGTERM or SIGINT and prints
// what happened to the frames as one line of JSON. Needs CAP_NET_RAW; sleeps while nothing is due.
//
// Usage: simwire --a INTERFACE --b INTERFACE [--delay-us N] [--jitter-us N] [--loss-ppm N]
//        [--dup-ppm N] [--reorder-ppm N] [--reorder-us N] [--rate-kbit N] [--queue-frames N]
//        [--seed N]
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "test/sim/lib/pktport.h"
#include "test/sim/lib/realtime.h"
#include "test/sim/lib/vnet.h"

#define WAIT_US_MAX 100000u // a signal that comes just before we sleep is seen after that
#define QUEUE_FRAMES 256u   // beyond what the delay holds

struct wire {
	struct vnet *net;
	struct vnet_link *link;
	uint64_t begin_us;
	const char *interface[2];
	struct pktport end[2];
	uint64_t overrun; // frames for which vnet had no slot
};

static struct wire wire;
static void
interface_put(struct port *to, const struct frame *f)
{
	struct frame out;

	if (!to->ops->tx_get(to, &out))
		return;
	memcpy(out.data, f->data, f->len);
	out.len = f->len;
	to->ops->tx_put(to, &out);
}

static bool
is_arp(const struct frame *f)
{
	return f->len > 14 && f->data[12] == 0x08 && f->data[13] == 0x06;
}

// From an interface onto the wire.
static uint32_t
wire_take(struct wire *w, enum vnet_end end)
{
	struct frame f[PORT_BURST];
	struct port *p = &w->end[end].port;
	uint32_t n = p->ops->rx(p, f, PORT_BURST);

	for (uint32_t i = 0; i < n; i++) {
		if (is_arp(&f[i]))
			interface_put(&w->end[1 - end].port, &f[i]);
		else if (!vnet_inject(w->link, end, span_of(f[i].data, f[i].len)))
			w->overrun++;
		p->ops->rx_free(p, &f[i]);
	}
	return n;
}

// From the wire's end to its interface.
static uint32_t
wire_give(struct wire *w, enum vnet_end end)
{
	struct frame f[PORT_BURST];
	struct port *from = vnet_port(w->link, end), *to = &w->end[end].port;
	uint32_t n = from->ops->rx(from, f, PORT_BURST);

	for (uint32_t i = 0; i < n; i++) {
		interface_put(to, &f[i]);
		from->ops->rx_free(from, &f[i]);
	}
	to->ops->tx_flush(to);
	return n;
}

static void
wire_sleep(struct wire *w)
{
	uint64_t now = vnet_now(w->net), next = vnet_next_us(w->net);
	uint64_t us = next == UINT64_MAX ? WAIT_US_MAX : next - MIN(next, now);
	struct pollfd p[2] = {{w->end[0].fd, POLLIN, 0}, {w->end[1].fd, POLLIN, 0}};

	us = MIN(us, WAIT_US_MAX);
	const struct timespec t = {0, (long)us * 1000};
	(void)ppoll(p, 2, &t, NULL);
}

static void
wire_run(struct wire *w)
{
	w->begin_us = realtime_us();
	while (!realtime_is_over()) {
		vnet_advance_to(w->net, VNET_START_US + realtime_us() - w->begin_us);
		uint32_t work = 0;
		for (enum vnet_end e = VNET_A; e <= VNET_B; e++)
			work += wire_take(w, e) + wire_give(w, e);
		if (work == 0)
			wire_sleep(w);
	}
}

static void
wire_print(const struct wire *w)
{
	printf("{\"overrun\": %" PRIu64 ", \"oversized\": %" PRIu64, w->overrun,
	       w->end[0].oversized + w->end[1].oversized);
	for (enum vnet_end e = VNET_A; e <= VNET_B; e++) {
		const struct vnet_stats *s = vnet_link_stats(w->link, e);
		printf(", \"%s\": {\"sent\": %" PRIu64 ", \"lost\": %" PRIu64
		       ", \"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64
		       ", \"queue_full\": %" PRIu64 ", \"received\": %" PRIu64 "}",
		       e == VNET_A ? "from_a" : "from_b", s->sent, s->lost, s->duplicated,
		       s->reordered, s->queue_full, s->received);
	}
	printf("}\n");
}

// What the delay holds at the given rate, in full frames.
static uint32_t
frames_under_way(const struct vnet_path *p)
{
	uint64_t bytes = (uint64_t)p->rate_kbit * (p->delay_us + p->jitter_us) / 8000;

	return p->rate_kbit == 0 ? 16384 : (uint32_t)(bytes / 1500);
}

static uint32_t *
field_of(struct vnet_path *p, const char *name)
{
	const struct {
		const char *name;
		uint32_t *field;
	} row[] = {
		{"delay-us", &p->delay_us},       {"jitter-us", &p->jitter_us},
		{"loss-ppm", &p->loss_ppm},       {"dup-ppm", &p->dup_ppm},
		{"reorder-ppm", &p->reorder_ppm}, {"reorder-us", &p->reorder_us},
		{"rate-kbit", &p->rate_kbit},     {"queue-frames", &p->queue_frames},
	};

	for (uint32_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		if (strcmp(row[i].name, name) == 0)
			return row[i].field;
	return NULL;
}

static bool
arguments(int argc, char **argv, struct wire *w, struct vnet_path *path, uint64_t *seed)
{
	for (int i = 1; i < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];
		if (strncmp(name, "--", 2) != 0 || i + 1 == argc)
			return false;
		uint32_t *field = field_of(path, name + 2);
		if (strcmp(name, "--a") == 0)
			w->interface[0] = value;
		else if (strcmp(name, "--b") == 0)
			w->interface[1] = value;
		else if (strcmp(name, "--seed") == 0)
			*seed = strtoull(value, NULL, 10);
		else if (field != NULL)
			*field = (uint32_t)strtoul(value, NULL, 10);
		else
			return false;
	}
	return w->interface[0] != NULL && w->interface[1] != NULL;
}

int
main(int argc, char **argv)
{
	struct vnet_path path = {0};
	uint64_t seed = 1;

	if (!arguments(argc, argv, &wire, &path, &seed)) {
		(void)fprintf(stderr, "usage: see the top of test/sim/simwire.c\n");
		return 2;
	}
	if (path.queue_frames == 0)
		path.queue_frames = QUEUE_FRAMES + frames_under_way(&path);
	for (enum vnet_end e = VNET_A; e <= VNET_B; e++)
		if (!pktport_open(&wire.end[e], wire.interface[e])) {
			(void)fprintf(stderr, "simwire: %s: %s\n", wire.interface[e],
				      strerror(errno));
			return 1;
		}
	wire.net = vnet_open(seed);
	wire.link = wire.net != NULL ? vnet_link_open(wire.net, &path, &path) : NULL;
	if (wire.link == NULL) {
		(void)fprintf(stderr, "simwire: no memory for the wire\n");
		return 1;
	}
	realtime_begin();
	(void)prctl(PR_SET_TIMERSLACK, 1000); // nanoseconds
	printf("ready\n");
	(void)fflush(stdout);
	wire_run(&wire);
	wire_print(&wire);
	vnet_close(&wire.net);
	for (enum vnet_end e = VNET_A; e <= VNET_B; e++)
		pktport_close(&wire.end[e]);
	return 0;
}
