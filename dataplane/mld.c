// SPDX-License-Identifier: Apache-2.0
// mld: tells switches and routers which groups we listen to (MLDv2, RFC 3810 as a listener). Runs
// on the owning worker.
//
// A switch that snoops keeps neighbour solicitations from who has not joined their group. Reports
// leave twice at start and within a second after each query, all groups in one; there are no
// sources and nothing is ever left, so that is all. Version 1 queries are answered the same way.

#include "dataplane/net_priv.h"

#define MLD_REPORT 143u
#define MLD_EXT 8u // hop-by-hop header with the router alert
#define MLD_HEADER 8u
#define MLD_RECORD 20u
#define MODE_IS_EXCLUDE 2u
#define CHANGE_TO_EXCLUDE 4u

static const uint8_t router_alert[MLD_EXT] = {IP_PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0};
static const struct ipaddr all_listeners = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};

// One record for each address's group; two addresses may share one, which says the same twice.
static uint32_t
records_put(const struct net_if *i, uint8_t *p)
{
	for (uint32_t k = 0; k < i->v6_count; k++, p += MLD_RECORD) {
		const struct ipaddr group = nd_group_of(&i->v6[k].addr);
		p[0] = i->is_queried ? MODE_IS_EXCLUDE : CHANGE_TO_EXCLUDE;
		memset(p + 1, 0, 3);
		memcpy(p + 4, group.b, 16);
	}
	return i->v6_count * MLD_RECORD;
}

static void
report_send(struct net *n, uint32_t iface)
{
	static const struct ipaddr unspecified; // as long as we have no address (RFC 3590)
	const struct net_if *i = &n->iface[iface];
	const struct net_local6 *from = nd_speaker(i);
	uint8_t mac[6], *ip;
	struct frame f;

	if (!net_frame_get(n, iface, &f, &ip))
		return;
	uint8_t *p = ip + IP6_HEADER + MLD_EXT;
	memset(p, 0, MLD_HEADER);
	p[0] = MLD_REPORT;
	store_be16(p + 6, (uint16_t)i->v6_count);
	uint32_t size = MLD_HEADER + records_put(i, p + MLD_HEADER);
	bool is_local = from != NULL && ipaddr_is_link_local(&from->addr);
	ip6_fill(ip, is_local ? &from->addr : &unspecified, &all_listeners,
		 &(struct ip_out){.hops = 1, .size = MLD_EXT + size}); // hop-by-hop options
	memcpy(ip + IP6_HEADER, router_alert, MLD_EXT);
	uint16_t sum = (uint16_t)~ip6_sum(ip, IP_PROTO_ICMP6, span_of(p, size));
	memcpy(p + 2, &sum, 2);
	nd_group_mac(all_listeners.b, mac);
	eth_fill(i, f.data, mac, ETH_IPV6);
	net_frame_put(n, iface, &f, IP6_HEADER + MLD_EXT + size);
	COUNT(n->counters, MLD_REPORTS);
}

// Each sweep: at most one report a second, however many queries came.
void
mld_run(struct net *n, uint32_t iface)
{
	CHECK(iface < n->iface_count);
	struct net_if *i = &n->iface[iface];

	if (i->joins == 0 && !i->is_queried)
		return;
	report_send(n, iface);
	i->is_queried = false;
	if (i->joins > 0)
		i->joins--;
	n->has_nd_work |= i->joins > 0;
}

bool
mld_input(struct net *n, const struct ip6_in *in)
{
	struct ipaddr src;

	CHECK(in->eth->iface < n->iface_count);
	memcpy(src.b, in->ip + 8, 16);
	if (in->body.n < 24 || in->ip[7] != 1 || !ipaddr_is_link_local(&src))
		return false;
	n->iface[in->eth->iface].is_queried = true;
	n->has_nd_work = true;
	return true;
}
