// SPDX-License-Identifier: Apache-2.0
// policy: validation of an image, and the lookups in it.
//
// Validation goes from the outside in: head, section table, strings, then each section's rows.
// Nothing is read through a bound that has not been checked before. The lookups rely on what was
// checked here (sorted rows, strings in bounds) only for being right, never for staying inside the
// image.
#include "control/abi/policy.h"

#include <string.h>

#include "control/base/siphash.h"

static_assert(AGENT_COUNT <= sizeof(((struct policy_order *)0)->agent), "every agent has a place");
static_assert(sizeof(struct policy_head) % 8 == 0, "sections begin aligned");

static const struct {
	const char *name;
	uint32_t row_size, least, most;
} sections[POLICY_SECTION_COUNT] = {
#define X(id, type, least, most) [POLICY_##id] = {#id, sizeof(type), least, most},
	POLICY_SECTIONS(X)
#undef X
};

static bool
bad(struct strbuf *why, const char *text)
{
	strbuf_add_str(why, text);
	return false;
}

static bool
bad_row(struct strbuf *why, enum policy_section_id s, uint32_t row, const char *text)
{
	strbuf_addf(why, "section %s row %u: %s", sections[s].name, row, text);
	return false;
}

uint32_t
policy_layout(void)
{
	static const char rows[] =
#define SETTING_U32(section, key, min, max, def, unit, help) "u " #section "." #key "\n"
#define SETTING_BOOL(section, key, def, help) "b " #section "." #key "\n"
#define SETTING_TEXT(section, key, max, def, help) "t " #section "." #key "\n"
#define SETTING_CHOICE(section, key, choices, def, help) "c " #section "." #key " " #choices "\n"
#define EVENT(id, name, stage) "e " #id "\n"
#define AGENT(id, name, prio, events) "a " #id "\n"
#include "control/abi/setting.def"
#include "control/abi/event.def"
#include "control/abi/agent.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
#undef EVENT
#undef AGENT
		;
	return (uint32_t)siphash13((struct siphash_key){1, 2}, rows, sizeof(rows));
}

uint64_t
policy_checksum(const void *image, size_t size)
{
	CHECK(size >= sizeof(struct policy_head));
	// Fixed: it finds damage, not malice. The letters of "postern policy 1".
	struct siphash_key key = {0x206e726574736f70ull, 0x312079636c6c6f70ull};
	const uint8_t *p = image;
	return siphash13(key, p + sizeof(struct policy_head), size - sizeof(struct policy_head));
}

void
policy_order_derive(const struct policy_agent agents[AGENT_COUNT],
		    struct policy_order order[EVENT_COUNT])
{
	memset(order, 0, sizeof(order[0]) * EVENT_COUNT);
	for (uint32_t e = 0; e < EVENT_COUNT; e++) {
		for (uint32_t prio = 1; prio <= AGENT_COUNT; prio++) {
			for (uint32_t a = 0; a < AGENT_COUNT; a++) {
				if (agents[a].priority != prio || !agents[a].enabled ||
				    (agent_events(a) >> e & 1) == 0 ||
				    order[e].count >= AGENT_COUNT)
					continue;
				order[e].agent[order[e].count++] = (uint8_t)a;
			}
		}
	}
}

static bool
head_is_sound(const struct policy_head *h, size_t size, struct strbuf *why)
{
	if (h->magic != POLICY_MAGIC)
		return bad(why, "not a policy image");
	if (h->version != POLICY_VERSION) {
		strbuf_addf(why, "image version %u, this program reads %u", h->version,
			    POLICY_VERSION);
		return false;
	}
	if (h->size != size)
		return bad(why, "image size differs from its head");
	if (h->layout != policy_layout())
		return bad(why,
			   "image made by another build: its options, events or agents differ");
	if (h->section_count != POLICY_SECTION_COUNT)
		return bad(why, "wrong section table");
	if (h->generation == 0)
		return bad(why, "image without generation");
	// The checksum does not cover the table, so it must be just what its counts make it: one
	// section behind the other, in order, up to the image's end.
	uint64_t end = sizeof(*h);
	for (uint32_t i = 0; i < POLICY_SECTION_COUNT; i++) {
		const struct policy_section *s = &h->section[i];
		if (s->row_size != sections[i].row_size) {
			strbuf_addf(why, "section %s: wrong row size", sections[i].name);
			return false;
		}
		if (s->count < sections[i].least || s->count > sections[i].most) {
			strbuf_addf(why, "section %s: %u rows, allowed are %u to %u",
				    sections[i].name, s->count, sections[i].least,
				    sections[i].most);
			return false;
		}
		uint64_t bytes = (uint64_t)s->count * s->row_size; // 32 by 32 bits: no overflow
		if (s->off != end || end > size || bytes > size - end) {
			strbuf_addf(why, "section %s: outside its place", sections[i].name);
			return false;
		}
		end = (end + bytes + 7) & ~7ull;
	}
	if (end != size)
		return bad(why, "image with bytes of no section");
	if (policy_checksum(h, size) != h->checksum)
		return bad(why, "wrong checksum");
	return true;
}

static void
view_fill(struct policy_view *v, const struct policy_head *h)
{
	const uint8_t *base = (const uint8_t *)h;
	const void *at[POLICY_SECTION_COUNT];
	for (uint32_t i = 0; i < POLICY_SECTION_COUNT; i++) {
		at[i] = base + h->section[i].off;
		v->count[i] = h->section[i].count;
	}
	v->head = h;
	v->settings = at[POLICY_SETTINGS];
	v->ports = at[POLICY_PORTS];
	v->cores = at[POLICY_CORES];
	v->listeners = at[POLICY_LISTENERS];
	v->hops = at[POLICY_HOPS];
	v->agents = at[POLICY_AGENTS];
	v->order = at[POLICY_ORDER];
	v->ip_allow = at[POLICY_IP_ALLOW];
	v->ip_block = at[POLICY_IP_BLOCK];
	v->accepted_domains = at[POLICY_ACCEPTED_DOMAINS];
	v->blocked_senders = at[POLICY_BLOCKED_SENDERS];
	v->blocked_recipients = at[POLICY_BLOCKED_RECIPIENTS];
	v->recipients = at[POLICY_RECIPIENTS];
	v->phrases = at[POLICY_PHRASES];
	v->names = at[POLICY_NAMES];
	v->types = at[POLICY_TYPES];
	v->strings = at[POLICY_STRINGS];
	v->db_content = at[POLICY_DB_CONTENT];
	v->db_names = at[POLICY_DB_NAMES];
}

static bool
str_is_inside(const struct policy_view *v, struct policy_str s)
{
	uint32_t n = v->count[POLICY_STRINGS];
	return s.off <= n && s.len <= n - s.off;
}

struct span
policy_text(const struct policy_view *v, struct policy_str s)
{
	if (s.len == 0 || !str_is_inside(v, s))
		return SPAN_NONE;
	return span_of(v->strings + s.off, s.len);
}

// As a function, so that a least value of 0 is no comparison that is always true.
static bool
is_between(uint32_t x, uint32_t min, uint32_t max)
{
	return x >= min && x <= max;
}

static bool
settings_are_sound(const struct policy_view *v, struct strbuf *why)
{
	const struct policy_settings *s = v->settings;
#define CHOICES_failure FAILURE_COUNT
#define CHOICES_sender_action SENDER_ACTION_COUNT
#define SETTING_U32(section, key, min, max, def, unit, help)                                       \
	if (!is_between(s->section##_##key, min, max))                                             \
		return bad(why, #section "." #key " is out of range");
#define SETTING_BOOL(section, key, def, help)                                                      \
	if (s->section##_##key > 1)                                                                \
		return bad(why, #section "." #key " is neither true nor false");
#define SETTING_TEXT(section, key, longest, def, help)                                             \
	if (!str_is_inside(v, s->section##_##key) || s->section##_##key.len > (longest))           \
		return bad(why, #section "." #key " is too long or outside the strings");
#define SETTING_CHOICE(section, key, choices, def, help)                                           \
	if (s->section##_##key >= CHOICES_##choices)                                               \
		return bad(why, #section "." #key " is no choice there is");
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
	struct span host = policy_text(v, s->server_hostname);
	if (host.n == 0)
		return bad(why, "server.hostname is empty");
	// It goes into replies and header lines as it is.
	for (uint32_t i = 0; i < host.n; i++)
		if (host.p[i] <= ' ' || host.p[i] > '~')
			return bad(why, "server.hostname is not printable");
	return true;
}

bool
policy_port_has_v6(const struct policy_port *p)
{
	for (uint32_t i = 0; i < p->addr_count; i++)
		if (!ipaddr_is_v4(&p->addr[i].addr))
			return true;
	return false;
}

// In one of the port's networks, or at the other end of its link.
static bool
gateway_is_near(const struct policy_port *p, const struct ipaddr *gateway)
{
	if (ipaddr_is_link_local(gateway))
		return true;
	for (uint32_t i = 0; i < p->addr_count; i++) {
		uint8_t bits = (uint8_t)MIN(p->addr[i].prefix_bits, 128u);
		struct ipprefix net = {ipaddr_mask(&p->addr[i].addr, bits), bits};
		if (ipprefix_has(&net, gateway))
			return true;
	}
	return false;
}

static bool
port_addr_is_sound(const struct policy_port *p, uint32_t k, const char **what)
{
	static const struct ipaddr none;
	const struct policy_port_addr *a = &p->addr[k];
	bool is_v4 = ipaddr_is_v4(&a->addr);

	*what = "prefix shorter or longer than an address";
	if (a->prefix_bits > 128 || a->prefix_bits < (is_v4 ? 96u : 1u))
		return false;
	*what = "not an address of one station";
	if (!ipaddr_is_unicast(&a->addr) || ipaddr_is_link_local(&a->addr))
		return false;
	*what = "gateway out of reach, or of no station";
	if (ipaddr_eq(&a->gateway, &none))
		return true;
	return ipaddr_is_v4(&a->gateway) == is_v4 && ipaddr_is_unicast(&a->gateway) &&
	       !ipaddr_eq(&a->gateway, &a->addr) && gateway_is_near(p, &a->gateway);
}

// Whether the address k of port i stands in the policy before, on whatever port.
static bool
port_addr_is_twice(const struct policy_view *v, uint32_t i, uint32_t k)
{
	for (uint32_t j = 0; j <= i; j++)
		for (uint32_t m = 0; m < (j == i ? k : v->ports[j].addr_count); m++)
			if (ipaddr_eq(&v->ports[j].addr[m].addr, &v->ports[i].addr[k].addr))
				return true;
	return false;
}

static bool
port_is_sound(const struct policy_view *v, uint32_t i, struct strbuf *why)
{
	const struct policy_port *p = &v->ports[i];
	const char *what;

	if (!str_is_inside(v, p->name) || !str_is_inside(v, p->device))
		return bad_row(why, POLICY_PORTS, i, "text outside the strings");
	if (p->name.len == 0 || p->device.len == 0)
		return bad_row(why, POLICY_PORTS, i, "without name or device");
	if (p->vlan > POLICY_VLAN_MAX)
		return bad_row(why, POLICY_PORTS, i, "no such VLAN");
	if (p->addr_count < 1 || p->addr_count > POLICY_PORT_ADDRS_MAX)
		return bad_row(why, POLICY_PORTS, i, "without addresses, or with too many");
	for (uint32_t k = 0; k < p->addr_count; k++) {
		if (!port_addr_is_sound(p, k, &what))
			return bad_row(why, POLICY_PORTS, i, what);
		if (port_addr_is_twice(v, i, k))
			return bad_row(why, POLICY_PORTS, i, "an address that is there already");
	}
	for (uint32_t j = 0; j < i; j++)
		if (v->ports[j].vlan == p->vlan &&
		    span_eq(policy_text(v, v->ports[j].device), policy_text(v, p->device)))
			return bad_row(why, POLICY_PORTS, i, "a device and VLAN of another row");
	return true;
}

static bool
machine_is_sound(const struct policy_view *v, struct strbuf *why)
{
	for (uint32_t i = 0; i < v->count[POLICY_PORTS]; i++)
		if (!port_is_sound(v, i, why))
			return false;
	for (uint32_t i = 0; i < v->count[POLICY_CORES]; i++)
		if (v->cores[i].cpu >= 1024) // CPU_SETSIZE: more cannot be named to the kernel
			return bad_row(why, POLICY_CORES, i, "no such CPU");
	for (uint32_t i = 0; i < v->count[POLICY_LISTENERS]; i++) {
		const struct policy_listener *l = &v->listeners[i];
		if (l->port >= v->count[POLICY_PORTS])
			return bad_row(why, POLICY_LISTENERS, i, "no such port");
		if (l->tcp_port == 0 || l->direction >= DIRECTION_COUNT)
			return bad_row(why, POLICY_LISTENERS, i, "wrong TCP port or direction");
	}
	for (uint32_t i = 0; i < v->count[POLICY_HOPS]; i++) {
		const struct policy_hop *h = &v->hops[i];
		if (!str_is_inside(v, h->name))
			return bad_row(why, POLICY_HOPS, i, "text outside the strings");
		if (h->tcp_port == 0 || h->direction >= DIRECTION_COUNT)
			return bad_row(why, POLICY_HOPS, i, "wrong TCP port or direction");
	}
	return true;
}

static bool
agents_are_sound(const struct policy_view *v, struct strbuf *why)
{
	uint32_t seen = 0;
	for (uint32_t i = 0; i < AGENT_COUNT; i++) {
		const struct policy_agent *a = &v->agents[i];
		if (a->enabled > 1)
			return bad_row(why, POLICY_AGENTS, i, "neither enabled nor disabled");
		if (a->priority < 1 || a->priority > AGENT_COUNT || (seen >> a->priority & 1) != 0)
			return bad_row(why, POLICY_AGENTS, i, "priorities are not 1..N, each once");
		seen |= 1u << a->priority;
	}
	struct policy_order want[EVENT_COUNT];
	policy_order_derive(v->agents, want);
	for (uint32_t e = 0; e < EVENT_COUNT; e++)
		if (memcmp(&want[e], &v->order[e], sizeof(want[e])) != 0)
			return bad_row(why, POLICY_ORDER, e, "does not follow from the agents");
	return true;
}

// 0 is never: it outlives every time.
static uint64_t
lives_until(const struct policy_prefix *p)
{
	return p->expires_s == 0 ? UINT64_MAX : p->expires_s;
}

static bool
prefixes_are_sound(const struct policy_view *v, enum policy_section_id id,
		   const struct policy_prefix *row, struct strbuf *why)
{
	for (uint32_t i = 0; i < v->count[id]; i++) {
		const struct policy_prefix *p = &row[i];
		if (!str_is_inside(v, p->comment))
			return bad_row(why, id, i, "text outside the strings");
		if (p->bits > 128)
			return bad_row(why, id, i, "prefix longer than an address");
		struct ipaddr masked = ipaddr_mask(&p->addr, (uint8_t)p->bits);
		if (!ipaddr_eq(&masked, &p->addr))
			return bad_row(why, id, i, "host bits are set");
		if (i == 0)
			continue;
		const struct policy_prefix *q = p - 1;
		int addr = memcmp(q->addr.b, p->addr.b, sizeof(p->addr.b));
		bool sorted = q->bits != p->bits ? q->bits > p->bits
			      : addr != 0        ? addr < 0
						 : lives_until(q) >= lives_until(p);
		if (!sorted)
			return bad_row(why, id, i, "rows are not sorted");
	}
	return true;
}

static bool
has_upper(struct span s)
{
	for (uint32_t i = 0; i < s.n; i++)
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			return true;
	return false;
}

static bool
addrs_are_sound(const struct policy_view *v, enum policy_section_id id,
		const struct policy_addr *row, struct strbuf *why)
{
	for (uint32_t i = 0; i < v->count[id]; i++) {
		if (!str_is_inside(v, row[i].text))
			return bad_row(why, id, i, "text outside the strings");
		struct span text = policy_text(v, row[i].text);
		if (text.n == 0 || text.n > POLICY_ADDR_MAX)
			return bad_row(why, id, i, "empty or too long");
		if (row[i].kind >= ADDR_KIND_COUNT)
			return bad_row(why, id, i, "unknown kind");
		if (has_upper(text))
			return bad_row(why, id, i, "not in lower case");
		if (i == 0)
			continue;
		int c = span_cmp(policy_text(v, row[i - 1].text), text);
		if (c > 0 || (c == 0 && row[i - 1].kind > row[i].kind))
			return bad_row(why, id, i, "rows are not sorted");
	}
	return true;
}

static bool
patterns_are_sound(const struct policy_view *v, struct strbuf *why)
{
	for (uint32_t i = 0; i < v->count[POLICY_PHRASES]; i++) {
		const struct policy_phrase *p = &v->phrases[i];
		if (!str_is_inside(v, p->text) || p->text.len == 0)
			return bad_row(why, POLICY_PHRASES, i, "text empty or outside the strings");
		if (p->influence >= INFLUENCE_COUNT)
			return bad_row(why, POLICY_PHRASES, i, "unknown influence");
	}
	for (uint32_t i = 0; i < v->count[POLICY_NAMES]; i++)
		if (!str_is_inside(v, v->names[i].text) || v->names[i].text.len == 0)
			return bad_row(why, POLICY_NAMES, i, "text empty or outside the strings");
	for (uint32_t i = 0; i < v->count[POLICY_TYPES]; i++) {
		struct span text = policy_text(v, v->types[i].text);
		if (text.n == 0)
			return bad_row(why, POLICY_TYPES, i, "text empty or outside the strings");
		if (has_upper(text))
			return bad_row(why, POLICY_TYPES, i, "not in lower case");
		if (i > 0 && span_cmp(policy_text(v, v->types[i - 1].text), text) > 0)
			return bad_row(why, POLICY_TYPES, i, "rows are not sorted");
	}
	return true;
}

enum policy_result
policy_view_open(struct policy_view *v, const void *image, size_t size, struct strbuf *why)
{
	CHECK(v != NULL);
	CHECK(why != NULL);
	memset(v, 0, sizeof(*v));
	const struct policy_head *h = image;
	bool sound = true;
	if (image == NULL || (uintptr_t)image % 8 != 0 || size < sizeof(*h) ||
	    size > POLICY_IMAGE_MAX)
		sound = bad(why, "image missing, misaligned, too short or too long");
	if (!sound || !head_is_sound(h, size, why))
		return POLICY_BAD;
	view_fill(v, h);
	sound = settings_are_sound(v, why) && machine_is_sound(v, why) &&
		agents_are_sound(v, why) &&
		prefixes_are_sound(v, POLICY_IP_ALLOW, v->ip_allow, why) &&
		prefixes_are_sound(v, POLICY_IP_BLOCK, v->ip_block, why) &&
		addrs_are_sound(v, POLICY_ACCEPTED_DOMAINS, v->accepted_domains, why) &&
		addrs_are_sound(v, POLICY_BLOCKED_SENDERS, v->blocked_senders, why) &&
		addrs_are_sound(v, POLICY_BLOCKED_RECIPIENTS, v->blocked_recipients, why) &&
		addrs_are_sound(v, POLICY_RECIPIENTS, v->recipients, why) &&
		patterns_are_sound(v, why);
	if (!sound) {
		memset(v, 0, sizeof(*v)); // a refused image is not to be read by mistake
		return POLICY_BAD;
	}
	return POLICY_OK;
}

static const struct policy_prefix *
prefix_rows(const struct policy_view *v, enum policy_section_id list)
{
	CHECK(list == POLICY_IP_ALLOW || list == POLICY_IP_BLOCK);
	return list == POLICY_IP_ALLOW ? v->ip_allow : v->ip_block;
}

// The first row in [lo, hi) whose length is below `bits`.
static uint32_t
run_end(const struct policy_prefix *row, uint32_t lo, uint32_t hi, uint32_t bits)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (row[mid].bits < bits)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

// The first row in [lo, hi), all of one length, whose address is not below `a`.
static uint32_t
addr_lower(const struct policy_prefix *row, uint32_t lo, uint32_t hi, const struct ipaddr *a)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (memcmp(row[mid].addr.b, a->b, sizeof(a->b)) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct policy_prefix *
policy_ip_find(const struct policy_view *v, enum policy_section_id list, const struct ipaddr *a,
	       uint64_t now_s)
{
	const struct policy_prefix *row = prefix_rows(v, list);
	uint32_t count = v->count[list];
	uint32_t at = 0;
	uint32_t least = ipaddr_is_v4(a) ? 96 : 0;
	// Each round takes one distinct length, so there are at most 129.
	while (at < count) {
		uint32_t bits = MIN(row[at].bits, 128u);
		if (bits < least)
			return NULL;
		uint32_t end = run_end(row, at, count, bits);
		struct ipaddr want = ipaddr_mask(a, (uint8_t)bits);
		uint32_t i = addr_lower(row, at, end, &want);
		if (i < end && ipaddr_eq(&row[i].addr, &want) && lives_until(&row[i]) > now_s)
			return &row[i];
		at = MAX(end, at + 1);
	}
	return NULL;
}

static const struct policy_addr *
addr_rows(const struct policy_view *v, enum policy_section_id list)
{
	switch (list) {
	case POLICY_ACCEPTED_DOMAINS:
		return v->accepted_domains;
	case POLICY_BLOCKED_SENDERS:
		return v->blocked_senders;
	case POLICY_BLOCKED_RECIPIENTS:
		return v->blocked_recipients;
	case POLICY_RECIPIENTS:
		return v->recipients;
	default:
		CHECK(list == POLICY_RECIPIENTS); // no list of addresses
		return NULL;
	}
}

static const struct policy_addr *
addr_search(const struct policy_view *v, enum policy_section_id list, struct span text,
	    enum policy_addr_kind kind)
{
	const struct policy_addr *row = addr_rows(v, list);
	uint32_t lo = 0, hi = v->count[list];
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = span_cmp(policy_text(v, row[mid].text), text);
		if (c < 0 || (c == 0 && row[mid].kind < (uint32_t)kind))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == v->count[list] || row[lo].kind != (uint32_t)kind ||
	    !span_eq(policy_text(v, row[lo].text), text))
		return NULL;
	return &row[lo];
}

// Copies in lower case; false: too long.
static bool
lower_copy(uint8_t *out, size_t size, struct span s)
{
	if (s.n > size)
		return false;
	for (uint32_t i = 0; i < s.n; i++)
		out[i] = ascii_lower(s.p[i]);
	return true;
}

// "joe"@dom and joe@dom are one mailbox (RFC 5321 4.1.2), and quoting must not slip past a list.
// Takes quotes and backslashes out of a quoted local part, in place; false: it has none.
static bool
unquote_local(uint8_t *buf, struct span *all)
{
	int64_t sign = span_rfind(*all, '@');
	if (sign < 2 || buf[0] != '"' || buf[sign - 1] != '"')
		return false;
	uint32_t n = 0;
	for (uint32_t i = 1; i < all->n; i++) {
		bool in_quotes = i < (uint32_t)sign - 1;
		if (i == (uint32_t)sign - 1)
			continue;
		if (in_quotes && buf[i] == '\\' && i + 1 < (uint32_t)sign - 1)
			i++;
		buf[n++] = buf[i];
	}
	*all = span_of(buf, n);
	return true;
}

const struct policy_addr *
policy_addr_find(const struct policy_view *v, enum policy_section_id list, struct span address)
{
	uint8_t buf[POLICY_ADDR_MAX];
	if (v->count[list] == 0 || !lower_copy(buf, sizeof(buf), address))
		return NULL;
	struct span all = span_of(buf, address.n);
	// "example.com." names the same domain, and must not slip past a list.
	if (all.n > 1 && all.p[all.n - 1] == '.')
		all.n--;
	if (all.n == 0)
		return NULL;
	const struct policy_addr *hit = addr_search(v, list, all, ADDR_EXACT);
	if (hit == NULL && unquote_local(buf, &all))
		hit = addr_search(v, list, all, ADDR_EXACT);
	if (hit != NULL)
		return hit;
	// The last one: a quoted local part may hold others.
	int64_t sign = span_rfind(all, '@');
	struct span domain = span_from(all, (uint32_t)(sign + 1));
	if (domain.n == 0)
		return NULL;
	hit = addr_search(v, list, domain, ADDR_DOMAIN);
	while (hit == NULL && domain.n > 0) {
		hit = addr_search(v, list, domain, ADDR_DOMAIN_AND_SUBDOMAINS);
		int64_t dot = span_find(domain, '.');
		domain = dot < 0 ? SPAN_NONE : span_from(domain, (uint32_t)dot + 1);
	}
	return hit;
}

const struct policy_type *
policy_type_find(const struct policy_view *v, struct span type)
{
	uint8_t buf[POLICY_ADDR_MAX];
	if (type.n == 0 || !lower_copy(buf, sizeof(buf), type))
		return NULL;
	struct span want = span_of(buf, type.n);
	uint32_t lo = 0, hi = v->count[POLICY_TYPES];
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (span_cmp(policy_text(v, v->types[mid].text), want) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == v->count[POLICY_TYPES] || !span_eq(policy_text(v, v->types[lo].text), want))
		return NULL;
	return &v->types[lo];
}

const char *
policy_list_name(enum policy_section_id list)
{
	switch (list) {
	case POLICY_IP_ALLOW:
		return "IP allow list";
	case POLICY_IP_BLOCK:
		return "IP block list";
	case POLICY_ACCEPTED_DOMAINS:
		return "accepted domains";
	case POLICY_BLOCKED_SENDERS:
		return "blocked senders";
	case POLICY_BLOCKED_RECIPIENTS:
		return "blocked recipients";
	case POLICY_RECIPIENTS:
		return "recipient table";
	case POLICY_PHRASES:
		return "phrases";
	case POLICY_NAMES:
		return "blocked file names";
	case POLICY_TYPES:
		return "blocked content types";
	default:
		return "?";
	}
}
