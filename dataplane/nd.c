// SPDX-License-Identifier: Apache-2.0
// nd: neighbour discovery (RFC 4861) and duplicate address detection (RFC 4862 5.4); neigh.c keeps
// what was learnt. Runs on the owning worker.
//
//   TENTATIVE --solicited, nobody objects for a second--> READY, announced
//       +------another station has it or wants it-------> TAKEN; TENTATIVE again later
//
// What is believed: advertisements about entries that are there already; the station address in a
// solicitation for us, from a neighbour on our link; routers, their prefixes and their MTU, on
// interfaces that have no configured gateway. Everything must have hop limit 255, so it comes from
// the link, and must not have been a fragment (RFC 6980). Redirects are ignored.

#include "dataplane/net_priv.h"

#define ND_HOP_LIMIT 255u
#define ND_ROUTER_SOLICIT 133u
#define ND_ROUTER_ADVERT 134u
#define ND_SOLICIT 135u
#define ND_ADVERT 136u
#define ND_REDIRECT 137u
#define ND_SIZE 24u // of a solicitation or advertisement without options
#define ND_RS_SIZE 8u
#define ND_RA_SIZE 16u
#define OPT_SOURCE 1u
#define OPT_TARGET 2u
#define OPT_PREFIX 3u
#define OPT_MTU 5u
#define OPTS_MAX 32u // in one message
#define FLAG_SOLICITED 0x40u
#define FLAG_OVERRIDE 0x20u
#define FLAG_ON_LINK 0x80u
#define RS_COUNT 3u // RFC 4861 10
#define RS_STEP_US 4000000ull
#define DAD_RETRY_US                                                                               \
	10000000ull          // after the first objection; twice as long after each further one ..
#define DAD_DOUBLINGS 6u     // .. up to 640 s, and up to half of it more
#define JOINS 2u             // RFC 3810 9.1
#define ANSWER_STEP_US 5000u // 200 advertisements a second ..
#define ANSWER_BURST_US 500000ull // .. and 100 at once

static const uint8_t solicited_prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
static const struct ipaddr all_nodes = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
static const struct ipaddr all_routers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
static const struct ipaddr unspecified;

struct nd_opts {
	const uint8_t *source, *target; // station addresses; NULL: none
	uint32_t mtu;                   // 0: none
};

// --- our addresses ---

// What the link hears of us unasked: groups, and whether there is a router.
static void
hello_begin(struct net_if *i)
{
	i->joins = JOINS;
	i->solicits = i->takes_routers ? RS_COUNT : 0;
	i->solicit_us = 0;
}

void
nd_init(struct net_if *i)
{
	bool has_gateway = false, has_link_local = false;

	for (uint32_t k = 0; k < i->v6_count; k++) {
		has_gateway |= memcmp(&i->v6[k].gateway, &unspecified, 16) != 0;
		has_link_local |= ipaddr_is_link_local(&i->v6[k].addr);
	}
	if (i->v6_count == 0)
		return;
	i->takes_routers = !has_gateway;
	hello_begin(i);
	if (has_link_local)
		return;
	const uint8_t *m = i->port->mac; // modified EUI-64 (RFC 4291 A)
	i->v6[i->v6_count++] = (struct net_local6){
		.addr = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3],
			  m[4], m[5]}},
		.prefix_bits = 64,
	};
}

static struct net_local6 *
local_find(struct net_if *i, const uint8_t addr[16]) // in any state
{
	for (uint32_t k = 0; k < i->v6_count; k++)
		if (memcmp(i->v6[k].addr.b, addr, 16) == 0)
			return &i->v6[k];
	return NULL;
}

// The link-local one, else any; NULL: none may speak yet.
const struct net_local6 *
nd_speaker(const struct net_if *i)
{
	const struct net_local6 *found = NULL;

	for (uint32_t k = 0; k < i->v6_count; k++) {
		const struct net_local6 *l = &i->v6[k];
		if (l->state == LOCAL_READY && (found == NULL || ipaddr_is_link_local(&l->addr)))
			found = l;
	}
	return found;
}

struct ipaddr
nd_group_of(const struct ipaddr *a) // the solicited-node one (RFC 4291 2.7.1)
{
	struct ipaddr g = *a;

	memcpy(g.b, solicited_prefix, sizeof(solicited_prefix));
	return g;
}

void
nd_group_mac(const uint8_t group[16], uint8_t mac[6])
{
	mac[0] = mac[1] = 0x33;
	memcpy(mac + 2, group + 12, 4);
}

bool
nd_group_is_ours(const struct net_if *i, const uint8_t group[16])
{
	if (memcmp(group, all_nodes.b, 16) == 0)
		return true;
	if (memcmp(group, solicited_prefix, sizeof(solicited_prefix)) != 0)
		return false;
	for (uint32_t k = 0; k < i->v6_count; k++)
		if (memcmp(i->v6[k].addr.b + 13, group + 13, 3) == 0)
			return true;
	return false;
}

// --- sending ---

struct nd_out {
	uint8_t type;
	uint32_t flags; // the four bytes behind the checksum
	struct ipaddr src, dst;
	const struct ipaddr *target; // NULL: none (a router solicitation)
	const uint8_t *mac;          // where to; NULL: dst is a group
	uint8_t opt;                 // with our station address; 0: none
};

static bool
nd_send(struct net *n, uint32_t iface, const struct nd_out *o)
{
	const struct net_if *i = &n->iface[iface];
	uint32_t size = o->target != NULL ? ND_SIZE : ND_RS_SIZE;
	uint8_t group[6], *ip;
	struct frame f;

	if (!net_frame_get(n, iface, &f, &ip))
		return false;
	uint8_t *p = ip + IP6_HEADER;
	p[0] = o->type;
	memset(p + 1, 0, 3);
	store_be32(p + 4, o->flags);
	if (o->target != NULL)
		memcpy(p + 8, o->target->b, 16);
	if (o->opt != 0) {
		p[size] = o->opt;
		p[size + 1] = 1;
		memcpy(p + size + 2, i->port->mac, 6);
		size += 8;
	}
	ip6_fill(ip, &o->src, &o->dst,
		 &(struct ip_out){.proto = IP_PROTO_ICMP6, .hops = ND_HOP_LIMIT, .size = size});
	uint16_t sum = (uint16_t)~ip6_sum(ip, IP_PROTO_ICMP6, span_of(p, size));
	memcpy(p + 2, &sum, 2);
	CHECK(o->mac != NULL || o->dst.b[0] == 0xff);
	nd_group_mac(o->dst.b, group);
	eth_fill(i, f.data, o->mac != NULL ? o->mac : group, ETH_IPV6);
	net_frame_put(n, iface, &f, IP6_HEADER + size);
	return true;
}

// Asks the station itself while it is still believed, else the address's group.
void
nd_ask(struct net *n, uint32_t iface, const struct ipaddr *addr, const uint8_t *mac)
{
	CHECK(iface < n->iface_count);
	const struct net_local6 *from = nd_speaker(&n->iface[iface]);

	if (from == NULL)
		return;
	const struct nd_out o = {
		.type = ND_SOLICIT,
		.src = from->addr,
		.dst = mac != NULL ? *addr : nd_group_of(addr),
		.target = addr,
		.mac = mac,
		.opt = OPT_SOURCE,
	};
	COUNT(n->counters, ND_REQUESTS);
	(void)nd_send(n, iface, &o); // no buffer: the next one does
}

static void
router_solicit(struct net *n, uint32_t iface)
{
	const struct net_local6 *from = nd_speaker(&n->iface[iface]);
	const struct nd_out o = {
		.type = ND_ROUTER_SOLICIT,
		.src = from != NULL ? from->addr : unspecified,
		.dst = all_routers,
		.opt = from != NULL ? OPT_SOURCE : 0,
	};

	COUNT(n->counters, ND_REQUESTS);
	(void)nd_send(n, iface, &o); // no buffer: the next one does
}

static bool
local_probe(struct net *n, uint32_t iface, const struct net_local6 *l)
{
	const struct nd_out o = {
		.type = ND_SOLICIT, .dst = nd_group_of(&l->addr), .target = &l->addr};

	COUNT(n->counters, ND_REQUESTS);
	return nd_send(n, iface, &o);
}

// To everybody: an address is ours from now on, or still.
static void
local_announce(struct net *n, uint32_t iface, const struct net_local6 *l)
{
	const struct nd_out o = {
		.type = ND_ADVERT,
		.flags = (uint32_t)FLAG_OVERRIDE << 24,
		.src = l->addr,
		.dst = all_nodes,
		.target = &l->addr,
		.opt = OPT_TARGET,
	};

	(void)nd_send(n, iface, &o); // no buffer: the next one does
}

// --- receiving ---

// Options in the body behind `size` bytes; false: malformed (RFC 4861 4.6).
static bool
opts_read(const struct ip6_in *in, uint32_t size, struct nd_opts *o)
{
	struct span s = span_from(in->body, size);

	*o = (struct nd_opts){0};
	for (uint32_t k = 0; s.n > 0; k++) {
		if (k == OPTS_MAX || s.n < 8 || s.p[1] == 0 || s.p[1] * 8u > s.n)
			return false;
		if (s.p[0] == OPT_SOURCE)
			o->source = s.p + 2;
		else if (s.p[0] == OPT_TARGET)
			o->target = s.p + 2;
		else if (s.p[0] == OPT_MTU)
			o->mtu = load_be32(s.p + 4);
		s = span_from(s, s.p[1] * 8u);
	}
	return true;
}

// RFC 4862 5.4.5 would leave a tentative address alone until somebody comes; an appliance comes
// back when the other station has gone. Two that have objected to each other must not ask again at
// the same moment: each adds what its own station address says.
static void
local_conflict(struct net *n, const struct net_if *i, struct net_local6 *l)
{
	COUNT(n->counters, ND_CONFLICT);
	if (l->state != LOCAL_TENTATIVE)
		return;
	uint64_t wait_us = DAD_RETRY_US << MIN(l->refusals, DAD_DOUBLINGS);

	l->state = LOCAL_TAKEN;
	l->retry_us = n->now_us + wait_us + load_be16(i->port->mac + 4) * (wait_us / 2 / 65536);
	l->refusals = (uint8_t)MIN(l->refusals + 1u, UINT8_MAX);
	counter_add(&n->counters->addresses_taken, 1);
}

static void
local_retry(struct net *n, struct net_local6 *l)
{
	l->state = LOCAL_TENTATIVE;
	l->is_probed = false;
	COUNT(n->counters, ND_RETRY);
	counter_add(&n->counters->addresses_taken, 0 - 1ull);
}

// RFC 4861 7.2.4. The answer goes to the station that asked: no lookup, so solicitations from many
// addresses cannot fill the neighbour table.
static void
solicit_answer(struct net *n, const struct ip6_in *in, const struct net_local6 *l,
	       const uint8_t *mac)
{
	struct nd_out o = {
		.type = ND_ADVERT,
		.flags = (uint32_t)FLAG_OVERRIDE << 24,
		.src = l->addr,
		.dst = all_nodes, // to a station that has no address yet
		.target = &l->addr,
		.opt = OPT_TARGET,
	};

	if (!in->is_unspecified) {
		o.flags |= (uint32_t)FLAG_SOLICITED << 24;
		memcpy(o.dst.b, in->ip + 8, 16);
		o.mac = mac != NULL ? mac : in->eth->src;
	}
	if (!net_is_allowed(n, &n->nd_us, ANSWER_STEP_US, ANSWER_BURST_US)) {
		COUNT(n->counters, ND_LIMIT);
		return;
	}
	COUNT(n->counters, ND_IN);
	(void)nd_send(n, in->eth->iface, &o); // no buffer: asked for again
}

static bool
solicit_input(struct net *n, const struct ip6_in *in)
{
	struct net_if *i = &n->iface[in->eth->iface];
	struct nd_opts o;
	struct ipaddr src;

	if (in->body.n < ND_SIZE || in->body.p[8] == 0xff || !opts_read(in, ND_SIZE, &o))
		return false;
	if (in->is_unspecified && (!in->is_group || in->ip[36] != 0xff || o.source != NULL))
		return false; // RFC 4861 7.1.1
	if (o.source != NULL && !net_mac_is_sane(i, o.source))
		return false;
	struct net_local6 *l = local_find(i, in->body.p + 8);
	if (l == NULL || l->state == LOCAL_TAKEN)
		return true; // somebody else's conversation
	if (l->state == LOCAL_TENTATIVE) {
		if (in->is_unspecified)
			local_conflict(n, i, l);
		return true;
	}
	memcpy(src.b, in->ip + 8, 16);
	if (!in->is_unspecified && route_is_on_link6(n, i, &src))
		neigh_learn(n, in->eth->iface, &src, o.source, NEIGH_MAKE | NEIGH_OVERRIDE);
	if ((in->eth->flags & FRAME_LEARN_ONLY) == 0)
		solicit_answer(n, in, l, o.source);
	return true;
}

static bool
advert_input(struct net *n, const struct ip6_in *in)
{
	struct net_if *i = &n->iface[in->eth->iface];
	struct ipaddr target;
	struct nd_opts o;

	if (in->body.n < ND_SIZE || in->body.p[8] == 0xff || in->is_unspecified ||
	    !opts_read(in, ND_SIZE, &o))
		return false;
	uint8_t flags = in->body.p[4];
	if (in->is_group && (flags & FLAG_SOLICITED) != 0)
		return false; // RFC 4861 7.1.2
	if (o.target != NULL && !net_mac_is_sane(i, o.target))
		return false;
	struct net_local6 *l = local_find(i, in->body.p + 8);
	if (l != NULL) {
		local_conflict(n, i, l);
		return true;
	}
	memcpy(target.b, in->body.p + 8, 16);
	neigh_learn(n, in->eth->iface, &target, o.target,
		    ((flags & FLAG_SOLICITED) != 0 ? NEIGH_CONFIRM : 0) |
			    ((flags & FLAG_OVERRIDE) != 0 ? NEIGH_OVERRIDE : 0));
	return true;
}

// --- routers ---

static void
router_learn(struct net *n, struct net_if *i, const struct ipaddr *addr, uint32_t lifetime_s)
{
	struct net_router6 *slot = NULL;

	for (uint32_t k = 0; k < NET_ROUTERS_MAX; k++) {
		struct net_router6 *r = &i->router[k];
		if (r->until_us > n->now_us && memcmp(&r->addr, addr, sizeof(*addr)) == 0) {
			slot = r;
			break;
		}
		if (slot == NULL && r->until_us <= n->now_us)
			slot = r;
	}
	if (slot == NULL)
		return; // four are enough, and the oldest are the ones that work
	slot->addr = *addr;
	slot->until_us = lifetime_s == 0 ? 0 : n->now_us + lifetime_s * 1000000ull;
}

static void
prefix_learn(struct net *n, struct net_if *i, const uint8_t *p) // the option
{
	struct ipaddr addr;
	struct net_prefix6 *slot = NULL;
	uint8_t bits = p[2];

	memcpy(addr.b, p + 16, 16);
	// RFC 4861 6.3.4; a prefix of a few bits would take in half of the Internet.
	if ((p[3] & FLAG_ON_LINK) == 0 || bits < 16 || bits > 128 || addr.b[0] == 0xff ||
	    ipaddr_is_link_local(&addr))
		return;
	addr = ipaddr_mask(&addr, bits);
	for (uint32_t k = 0; k < NET_PREFIXES_MAX; k++) {
		struct net_prefix6 *f = &i->prefix[k];
		if (f->until_us > n->now_us && f->bits == bits &&
		    memcmp(&f->addr, &addr, sizeof(addr)) == 0) {
			slot = f;
			break;
		}
		if (slot == NULL && f->until_us <= n->now_us)
			slot = f;
	}
	if (slot == NULL)
		return;
	*slot = (struct net_prefix6){addr, bits, n->now_us + load_be32(p + 4) * 1000000ull};
}

static bool
router_input(struct net *n, const struct ip6_in *in)
{
	struct net_if *i = &n->iface[in->eth->iface];
	struct ipaddr src;
	struct nd_opts o;

	memcpy(src.b, in->ip + 8, 16);
	if (in->body.n < ND_RA_SIZE || !ipaddr_is_link_local(&src) ||
	    !opts_read(in, ND_RA_SIZE, &o))
		return false;
	if (o.source != NULL && !net_mac_is_sane(i, o.source))
		return false;
	if (!i->takes_routers) {
		COUNT(n->counters, ND_IGNORED);
		return true;
	}
	uint32_t lifetime_s = load_be16(in->body.p + 6);
	router_learn(n, i, &src, lifetime_s);
	if (lifetime_s > 0)
		i->solicits = 0;
	neigh_learn(n, in->eth->iface, &src, o.source, NEIGH_MAKE | NEIGH_OVERRIDE);
	if (o.mtu >= IP6_MTU_MIN && o.mtu <= i->port->mtu)
		i->mtu6 = (uint16_t)o.mtu;
	// opts_read has looked at the lengths already.
	for (struct span s = span_from(in->body, ND_RA_SIZE); s.n > 0;
	     s = span_from(s, s.p[1] * 8u))
		if (s.p[0] == OPT_PREFIX && s.p[1] == 4)
			prefix_learn(n, i, s.p);
	return true;
}

// Who is asked for its address during somebody's detection answers from that address, and has no
// need of another (RFC 4861 7.2.4).
bool
nd_is_claim(const struct ip6_in *in)
{
	return in->proto == IP_PROTO_ICMP6 && in->body.n >= ND_SIZE && in->body.p[0] == ND_ADVERT &&
	       memcmp(in->body.p + 8, in->ip + 8, 16) == 0;
}

void
nd_input(struct net *n, const struct ip6_in *in)
{
	CHECK(in->eth->iface < n->iface_count);
	bool is_sound = in->ip[7] == ND_HOP_LIMIT && in->body.p[1] == 0 && !in->has_fragment &&
			memcmp(in->eth->src, n->iface[in->eth->iface].port->mac, 6) != 0;

	switch (is_sound ? in->body.p[0] : 0) {
	case ND_SOLICIT:
		is_sound = solicit_input(n, in);
		break;
	case ND_ADVERT:
		is_sound = advert_input(n, in);
		break;
	case ND_ROUTER_ADVERT:
		is_sound = router_input(n, in);
		break;
	case ND_ROUTER_SOLICIT: // we are no router
	case ND_REDIRECT:
		COUNT(n->counters, ND_IGNORED);
		break;
	default: // not sound
		break;
	}
	if (!is_sound)
		COUNT(n->counters, ND_BAD);
}

// --- time ---

// Without a link nobody could object to our addresses: the first one asks again. Later they stay
// ours, as connections use them.
void
nd_link_up(struct net *n, uint32_t iface, bool is_first)
{
	CHECK(iface < n->iface_count);
	struct net_if *i = &n->iface[iface];

	hello_begin(i);
	for (uint32_t k = 0; k < i->v6_count; k++) {
		struct net_local6 *l = &i->v6[k];
		if (l->state == LOCAL_TENTATIVE)
			l->is_probed = false;
		if (l->state != LOCAL_READY)
			continue;
		if (is_first)
			*l = (struct net_local6){.addr = l->addr,
						 .gateway = l->gateway,
						 .prefix_bits = l->prefix_bits};
		else
			local_announce(n, iface, l);
	}
}

void
nd_run(struct net *n, uint32_t iface)
{
	CHECK(iface < n->iface_count);
	struct net_if *i = &n->iface[iface];

	mld_run(n, iface); // before the first solicitation, so that answers reach us
	for (uint32_t k = 0; k < i->v6_count; k++) {
		struct net_local6 *l = &i->v6[k];
		if (l->state == LOCAL_READY)
			continue;
		n->has_nd_work = true;
		if (l->state == LOCAL_TAKEN) {
			if (n->now_us < l->retry_us)
				continue;
			local_retry(n, l);
		}
		if (l->is_probed) {
			l->state = LOCAL_READY;
			l->refusals = 0;
			local_announce(n, iface, l);
			continue;
		}
		l->is_probed = local_probe(n, iface, l);
	}
	if (i->solicits > 0) {
		if (n->now_us >= i->solicit_us && nd_speaker(i) != NULL) {
			router_solicit(n, iface);
			i->solicits--;
			i->solicit_us = n->now_us + RS_STEP_US;
		}
		n->has_nd_work = true;
	}
}
