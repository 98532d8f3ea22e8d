// SPDX-License-Identifier: Apache-2.0
// runtime: file + store -> policy -> publish. See runtime.h.
#include "control/runtime.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PURGE_S 60 // between two looks for expired entries

struct runtime {
	char *config_file;
	uint32_t cpus;
	struct store *store;
	struct policy_compiler *compiler;
	struct publish publish;
	struct config *config; // NULL: the file was wrong from the start
	void *image;           // the newest; `view` looks into it
	size_t image_size;
	struct policy_view view;
	uint64_t applied_s, purged_s;
	enum publish_state seen; // what runtime_poll has reported
	uint64_t seen_generation;
};

static uint64_t
now_s(void)
{
	return (uint64_t)MAX(time(NULL), 1);
}

// --- making a policy ---

struct made {
	void *image, *copy; // the runtime's, and publish's
	size_t size;
	struct policy_view view;
};

// False: it cannot be made; why is in d.
static bool
policy_make(struct runtime *rt, const struct config *config, struct made *out, struct diag_list *d)
{
	struct strbuf why;
	char mem[160];

	*out = (struct made){0};
	out->image = policy_compile(rt->compiler, config, store_overlay(rt->store),
				    publish_next_generation(&rt->publish), now_s(), d, &out->size);
	if (out->image == NULL)
		return false;
	out->copy = malloc(out->size);
	if (out->copy == NULL) {
		diag_error(d, 0, 0, "no memory");
		free(out->image);
		return false;
	}
	memcpy(out->copy, out->image, out->size);
	strbuf_init(&why, mem, sizeof(mem));
	enum policy_result r = policy_view_open(&out->view, out->image, out->size, &why);
	CHECK(r == POLICY_OK); // policy_compile has looked
	return true;
}

static void
policy_adopt(struct runtime *rt, struct made *m)
{
	free(rt->image);
	rt->image = m->image;
	rt->image_size = m->size;
	rt->view = m->view;
	publish_take(&rt->publish, &m->copy, m->size);
	CHECK(m->copy == NULL);
}

// After a change in the store. False: the policy cannot be made with it.
static bool
policy_renew(struct runtime *rt, struct diag_list *d)
{
	struct made m;

	if (rt->config == NULL)
		return true; // nothing to publish; the change is kept for the file to come
	if (!policy_make(rt, rt->config, &m, d))
		return false;
	policy_adopt(rt, &m);
	return true;
}

static void
config_adopt(struct runtime *rt, struct config **c)
{
	config_close(&rt->config);
	rt->config = *c;
	rt->applied_s = now_s();
	*c = NULL;
}

// --- open, close, poll ---

struct runtime *
runtime_open(const struct runtime_paths *paths, struct diag_list *d)
{
	CHECK(paths != NULL);
	CHECK(paths->config_file != NULL);
	CHECK(paths->state_dir != NULL);
	struct runtime *rt = calloc(1, sizeof(*rt));
	struct made m;

	if (rt == NULL)
		return NULL;
	publish_init(&rt->publish);
	struct config *c = config_load(paths->config_file, now_s(), d);
	rt->cpus = paths->cpus;
	if (c != NULL)
		config_check_cores(c, rt->cpus, d);
	rt->config_file = strdup(paths->config_file);
	rt->compiler = policy_compiler_open();
	rt->store = store_open(paths->state_dir, d);
	if (rt->config_file == NULL || rt->compiler == NULL || rt->store == NULL) {
		config_close(&c);
		runtime_close(&rt);
		return NULL;
	}
	if (c != NULL && policy_make(rt, c, &m, d)) {
		config_adopt(rt, &c);
		policy_adopt(rt, &m);
	}
	config_close(&c);
	return rt;
}

void
runtime_close(struct runtime **rt)
{
	CHECK(rt != NULL);
	if (*rt == NULL)
		return;
	publish_fini(&(*rt)->publish);
	policy_compiler_close(&(*rt)->compiler);
	store_close(&(*rt)->store);
	config_close(&(*rt)->config);
	free((*rt)->image);
	free((*rt)->config_file);
	free(*rt);
	*rt = NULL;
}

void
runtime_attach(struct runtime *rt, struct region *region, struct diag_list *d)
{
	CHECK(rt != NULL);
	CHECK(region != NULL);
	publish_attach(&rt->publish, region);
	// The generation that the policy was made with began at 1: the region's may be higher.
	if (rt->config != NULL && !policy_renew(rt, d))
		diag_error(d, 0, 0, "the policy is not published");
	(void)runtime_poll(rt);
}

bool
runtime_poll(struct runtime *rt)
{
	CHECK(rt != NULL);
	uint64_t t = now_s();

	enum publish_state state = publish_poll(&rt->publish);
	// The workers look at the expiry themselves: nothing has to be published for that.
	if (t < rt->purged_s || t - rt->purged_s >= PURGE_S) {
		(void)store_ip_purge(rt->store, t);
		rt->purged_s = t;
	}
	bool changed = state != rt->seen || rt->publish.generation != rt->seen_generation;
	rt->seen = state;
	rt->seen_generation = rt->publish.generation;
	return changed;
}

// --- check and apply ---

static void
warn_restart(struct runtime *rt, struct diag_list *d)
{
	struct strbuf b;
	char mem[300];

	strbuf_init(&b, mem, sizeof(mem));
	runtime_restart_needed(rt, &b);
	if (b.len > 0)
		diag_warning(d, 0, 0, "needs a restart of postern-dataplane: %s", mem);
}

// Takes *c over, or closes it.
static enum runtime_result
config_try(struct runtime *rt, struct config **c, bool apply, struct diag_list *d)
{
	struct made m;

	if (*c != NULL)
		config_check_cores(*c, rt->cpus, d);
	bool ok = *c != NULL && policy_make(rt, *c, &m, d);

	if (ok && apply) {
		config_adopt(rt, c);
		policy_adopt(rt, &m);
		if (strcmp(rt->config->file, rt->config_file) != 0)
			diag_warning(d, 0, 0, "in force until posternd starts anew, which reads %s",
				     rt->config_file);
		warn_restart(rt, d);
	} else if (ok) {
		free(m.image);
		free(m.copy);
	}
	config_close(c);
	return ok ? RUNTIME_OK : RUNTIME_REFUSED;
}

static struct config *
file_load(const struct runtime *rt, const char *file, uid_t reader, struct diag_list *d)
{
	if (file == NULL || strcmp(file, rt->config_file) == 0)
		return config_load(rt->config_file, now_s(), d);
	return config_load_for(file, reader, now_s(), d);
}

enum runtime_result
runtime_check(struct runtime *rt, const char *file, uid_t reader, struct diag_list *d)
{
	CHECK(rt != NULL);
	struct config *c = file_load(rt, file, reader, d);

	return config_try(rt, &c, false, d);
}

enum runtime_result
runtime_check_text(struct runtime *rt, const char *name, const char *text, size_t size,
		   struct diag_list *d)
{
	CHECK(rt != NULL);
	struct config *c = config_load_text(name, text, size, now_s(), d);

	return config_try(rt, &c, false, d);
}

enum runtime_result
runtime_apply(struct runtime *rt, const char *file, uid_t reader, struct diag_list *d)
{
	CHECK(rt != NULL);
	struct config *c = file_load(rt, file, reader, d);

	return config_try(rt, &c, true, d);
}

enum runtime_result
runtime_apply_text(struct runtime *rt, const char *name, const char *text, size_t size,
		   struct diag_list *d)
{
	CHECK(rt != NULL);
	struct config *c = config_load_text(name, text, size, now_s(), d);

	return config_try(rt, &c, true, d);
}

// --- agents ---

static enum runtime_result
agents_change(struct runtime *rt, const struct store_agent state[AGENT_COUNT], struct diag_list *d)
{
	struct store_agent old[AGENT_COUNT];

	memcpy(old, store_overlay(rt->store)->agent, sizeof(old));
	enum store_result r = store_agents_put(rt->store, state, d);
	if (r == STORE_SAME)
		return RUNTIME_OK;
	if (r != STORE_OK)
		return RUNTIME_REFUSED;
	if (policy_renew(rt, d))
		return RUNTIME_OK;
	if (store_agents_put(rt->store, old, d) == STORE_FAILED)
		diag_error(d, 0, 0, "and it could not be taken back: it comes into force later");
	return RUNTIME_REFUSED;
}

enum runtime_result
runtime_agent_enable(struct runtime *rt, enum agent_id a, bool enabled, struct diag_list *d)
{
	struct store_agent state[AGENT_COUNT];

	CHECK(rt != NULL);
	CHECK((uint32_t)a < AGENT_COUNT);
	memcpy(state, store_overlay(rt->store)->agent, sizeof(state));
	state[a].enabled = enabled;
	return agents_change(rt, state, d);
}

enum runtime_result
runtime_agent_priority(struct runtime *rt, enum agent_id a, uint32_t position, struct diag_list *d)
{
	struct store_agent state[AGENT_COUNT];
	struct policy_agent now[AGENT_COUNT];

	CHECK(rt != NULL);
	CHECK((uint32_t)a < AGENT_COUNT);
	if (position < 1 || position > AGENT_COUNT) {
		diag_error(d, 0, 0, "a priority is a number from 1 to %u", AGENT_COUNT);
		return RUNTIME_REFUSED;
	}
	if (rt->config == NULL) {
		diag_error(d, 0, 0, "there is no order yet: %s has mistakes", rt->config_file);
		return RUNTIME_REFUSED;
	}
	memcpy(state, store_overlay(rt->store)->agent, sizeof(state));
	policy_agents_merge(rt->config, store_overlay(rt->store), now);
	uint32_t from = now[a].priority;
	for (uint32_t i = 0; i < AGENT_COUNT; i++) {
		uint32_t p = now[i].priority;
		if (i == a)
			p = position;
		else if (p > from && p <= position)
			p--;
		else if (p < from && p >= position)
			p++;
		CHECK(p >= 1);
		CHECK(p <= AGENT_COUNT);
		state[i].priority = (uint8_t)p;
	}
	return agents_change(rt, state, d);
}

enum runtime_result
runtime_agent_reset(struct runtime *rt, enum agent_id a, struct diag_list *d)
{
	struct store_agent state[AGENT_COUNT];

	CHECK(rt != NULL);
	CHECK((uint32_t)a <= AGENT_COUNT);
	memcpy(state, store_overlay(rt->store)->agent, sizeof(state));
	for (uint32_t i = 0; i < AGENT_COUNT; i++) {
		if (a == AGENT_COUNT || i == a)
			state[i] = (struct store_agent){.enabled = -1};
	}
	return agents_change(rt, state, d);
}

struct runtime_agent
runtime_agent_at(const struct runtime *rt, uint32_t position)
{
	struct policy_agent now[AGENT_COUNT];
	struct runtime_agent out = {.agent = AGENT_COUNT};

	CHECK(rt != NULL);
	CHECK(rt->config != NULL);
	CHECK(position >= 1 && position <= AGENT_COUNT);
	const struct store_overlay *o = store_overlay(rt->store);
	policy_agents_merge(rt->config, o, now);
	for (uint32_t a = 0; a < AGENT_COUNT; a++) {
		if (now[a].priority != position)
			continue;
		out.agent = a;
		out.priority = position;
		out.enabled = now[a].enabled != 0;
		out.enabled_from_cli = o->agent[a].enabled >= 0;
		out.priority_from_cli = o->agent[a].priority > 0;
	}
	CHECK(out.agent < AGENT_COUNT);
	return out;
}

// --- IP lists ---

static const struct config_prefix *
file_list(const struct runtime *rt, enum store_list list, uint32_t *count)
{
	CHECK((uint32_t)list < STORE_LIST_COUNT);
	*count = 0;
	if (rt->config == NULL)
		return NULL;
	*count = list == STORE_ALLOW ? rt->config->ip_allow_count : rt->config->ip_block_count;
	return list == STORE_ALLOW ? rt->config->ip_allow : rt->config->ip_block;
}

// NULL: the file has no such entry.
static const struct config_prefix *
file_find(const struct runtime *rt, enum store_list list, const struct ipprefix *p)
{
	uint32_t count;
	const struct config_prefix *rows = file_list(rt, list, &count);

	for (uint32_t i = 0; i < count; i++) {
		if (rows[i].prefix.bits == p->bits && ipaddr_eq(&rows[i].prefix.addr, &p->addr))
			return &rows[i];
	}
	return NULL;
}

static const char *
prefix_text(char *mem, uint32_t size, const struct ipprefix *p)
{
	struct strbuf b;

	strbuf_init(&b, mem, size);
	ipprefix_format(&b, p);
	return mem;
}

// The policy cannot be made with the change: the store gets back what it had.
static enum runtime_result
ip_take_back(struct runtime *rt, enum store_list list, const struct store_ip *old, bool had,
	     struct diag_list *d)
{
	enum store_result r = had ? store_ip_put(rt->store, list, old, d)
				  : store_ip_del(rt->store, list, &old->prefix, d);

	if (r != STORE_OK)
		diag_error(d, 0, 0, "and it could not be taken back: it comes into force later");
	return RUNTIME_REFUSED;
}

// What is allowed and will hardly be meant; the file's reader says the same of its entries.
static void
ip_add_warn(const struct runtime *rt, enum store_list list, const struct ipprefix *p,
	    const char *text, struct diag_list *d)
{
	enum store_list other = list == STORE_ALLOW ? STORE_BLOCK : STORE_ALLOW;
	const struct config_prefix *in_file = file_find(rt, other, p);

	if (ipprefix_is_all(p))
		diag_warning(d, 0, 0, "%s is every IPv%c address", text, p->bits == 0 ? '6' : '4');
	if (in_file != NULL)
		diag_warning(d, 0, 0, "%s is on the %s list too, in %s line %u: it is allowed",
			     text, store_list_name(other), rt->config->file, in_file->line);
	else if (store_ip_find(rt->store, other, p) != NULL)
		diag_warning(d, 0, 0, "%s is on the %s list too: it is allowed", text,
			     store_list_name(other));
}

enum runtime_result
runtime_ip_add(struct runtime *rt, enum store_list list, const struct ipprefix *p,
	       uint64_t expires_s, const char *comment, struct diag_list *d)
{
	CHECK(rt != NULL);
	CHECK(p != NULL);
	CHECK(p->bits <= 128);
	char text[64], old_comment[STORE_COMMENT_MAX + 1] = "";
	uint64_t t = now_s();
	const struct config_prefix *in_file = file_find(rt, list, p);
	const struct store_ip *found = store_ip_find(rt->store, list, p);
	struct store_ip old = {.prefix = *p, .comment = old_comment};
	bool had = found != NULL;

	(void)prefix_text(text, sizeof(text), p);
	if (expires_s != 0 && (expires_s <= t || expires_s > INT64_MAX)) {
		diag_error(d, 0, 0, "%s: the expiry is not in the future", text);
		return RUNTIME_REFUSED;
	}
	if (in_file != NULL && in_file->expires_s == 0) {
		diag_warning(d, 0, 0, "%s: nothing is added: it is in %s line %u", text,
			     rt->config->file, in_file->line);
		return RUNTIME_NOTHING;
	}
	ip_add_warn(rt, list, p, text, d);
	if (had) {
		struct strbuf b;
		strbuf_init(&b, old_comment, sizeof(old_comment));
		strbuf_add_str(&b, found->comment);
		old.expires_s = found->expires_s;
		old.added_s = found->added_s;
		comment = comment != NULL ? comment : old_comment;
	}
	struct store_ip ip = {.prefix = *p,
			      .expires_s = expires_s,
			      .added_s = t,
			      .comment = (char *)(uintptr_t)(comment != NULL ? comment : "")};
	enum store_result r = store_ip_put(rt->store, list, &ip, d);
	if (r == STORE_SAME)
		return RUNTIME_OK;
	if (r != STORE_OK)
		return RUNTIME_REFUSED;
	return policy_renew(rt, d) ? RUNTIME_OK : ip_take_back(rt, list, &old, had, d);
}

enum runtime_result
runtime_ip_del(struct runtime *rt, enum store_list list, const struct ipprefix *p,
	       struct diag_list *d)
{
	CHECK(rt != NULL);
	CHECK(p != NULL);
	char text[64], comment[STORE_COMMENT_MAX + 1];
	const struct config_prefix *in_file = file_find(rt, list, p);
	const struct store_ip *found = store_ip_find(rt->store, list, p);
	struct strbuf b;

	(void)prefix_text(text, sizeof(text), p);
	if (found == NULL) {
		if (in_file != NULL)
			diag_error(d, 0, 0,
				   "%s is in %s line %u: take it out there, then `postern policy "
				   "apply`",
				   text, rt->config->file, in_file->line);
		else
			diag_error(d, 0, 0, "%s is not on the %s list", text,
				   store_list_name(list));
		return RUNTIME_REFUSED;
	}
	strbuf_init(&b, comment, sizeof(comment));
	strbuf_add_str(&b, found->comment);
	struct store_ip old = *found;
	old.comment = comment;
	if (store_ip_del(rt->store, list, p, d) != STORE_OK)
		return RUNTIME_REFUSED;
	if (!policy_renew(rt, d))
		return ip_take_back(rt, list, &old, true, d);
	if (in_file != NULL)
		diag_warning(d, 0, 0, "%s stays on the %s list: it is in %s line %u too", text,
			     store_list_name(list), rt->config->file, in_file->line);
	return RUNTIME_OK;
}

static struct runtime_ip
ip_of_store(const struct store_ip *ip)
{
	return (struct runtime_ip){.prefix = ip->prefix,
				   .expires_s = ip->expires_s,
				   .added_s = ip->added_s,
				   .comment = ip->comment};
}

bool
runtime_ip_find(const struct runtime *rt, enum store_list list, const struct ipprefix *p,
		struct runtime_ip *out)
{
	CHECK(rt != NULL);
	CHECK(out != NULL);
	const struct store_ip *ip = store_ip_find(rt->store, list, p);

	if (ip != NULL)
		*out = ip_of_store(ip);
	return ip != NULL;
}

uint32_t
runtime_ip_count(const struct runtime *rt, enum store_list list)
{
	uint32_t count;

	CHECK(rt != NULL);
	(void)file_list(rt, list, &count);
	return count + store_overlay(rt->store)->ip_count[list];
}

struct runtime_ip
runtime_ip_at(const struct runtime *rt, enum store_list list, uint32_t index)
{
	uint32_t count;

	CHECK(rt != NULL);
	CHECK(index < runtime_ip_count(rt, list));
	const struct config_prefix *rows = file_list(rt, list, &count);
	if (index < count)
		return (struct runtime_ip){.prefix = rows[index].prefix,
					   .expires_s = rows[index].expires_s,
					   .comment = rows[index].comment,
					   .line = rows[index].line};
	return ip_of_store(&store_overlay(rt->store)->ip[list][index - count]);
}

// --- for printing ---

bool
runtime_has_policy(const struct runtime *rt)
{
	CHECK(rt != NULL);
	CHECK((rt->config == NULL) == (rt->image == NULL));
	return rt->config != NULL;
}

const struct config *
runtime_config(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return rt->config;
}

const struct policy_view *
runtime_view(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return rt->image != NULL ? &rt->view : NULL;
}

const char *
runtime_config_file(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return rt->config_file;
}

struct setting_value
runtime_setting(const struct runtime *rt, enum setting_id id)
{
	CHECK(rt != NULL);
	CHECK((uint32_t)id < SETTING_COUNT);
	return rt->config != NULL ? rt->config->setting[id] : schema_default(id);
}

uint64_t
runtime_generation(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return rt->publish.generation;
}

enum publish_state
runtime_publish_state(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return rt->publish.state;
}

const char *
runtime_publish_why(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return rt->publish.why;
}

bool
runtime_is_in_force(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return publish_is_in_force(&rt->publish);
}

uint32_t
runtime_applied_s(const struct runtime *rt)
{
	CHECK(rt != NULL);
	uint64_t t = now_s();

	return t > rt->applied_s && rt->applied_s > 0 ? (uint32_t)MIN(t - rt->applied_s, UINT32_MAX)
						      : 0;
}

void
runtime_restart_needed(const struct runtime *rt, struct strbuf *out)
{
	CHECK(rt != NULL);
	CHECK(out != NULL);
	const struct region *r = rt->publish.region;
	struct machine_sig newest;

	// It says itself what it booted from, so this holds across restarts of either process.
	if (r == NULL || rt->image == NULL || !region_plane_lives(r->head))
		return;
	machine_sig_of(&newest, &rt->view);
	machine_sig_diff(&r->head->machine, &newest, out);
}

bool
runtime_store_is_writable(const struct runtime *rt)
{
	CHECK(rt != NULL);
	return store_is_writable(rt->store);
}
