// SPDX-License-Identifier: Apache-2.0
// From a change to the region and what the dataplane says of it. The dataplane's side is played
// with region_take and its words in the region's head.
#include "control/publish.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/runtime.h"

static char dir[64], conf[100], region_path[100];
static struct region region;

static const char base_text[] =
	"server: {hostname: mx.example.org, accepted_domains: [example.org]}\n"
	"machine:\n"
	"  cores: [1]\n"
	"  ports: [{name: a, device: net_tap0, address: 10.0.0.1/8}]\n"
	"listeners: [{port: a, tcp_port: 25, direction: inbound}]\n"
	"backends: [{name: b, address: 10.0.0.2, tcp_port: 25, direction: inbound}]\n"
	"attachment_filtering: {file_names: [], content_types: []}\n";

static void
write_conf(const char *more)
{
	FILE *f = fopen(conf, "w");

	cr_assert(f != NULL);
	fprintf(f, "%s%s", base_text, more);
	fclose(f);
}

static void
region_open(void)
{
	struct strbuf why;
	char mem[200];

	strbuf_init(&why, mem, sizeof(mem));
	cr_assert(region_create(&region, region_path, false, &why) == 0, "%s", mem);
}

static void
setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/postern-publish-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
	snprintf(conf, sizeof(conf), "%s/postern.yaml", dir);
	snprintf(region_path, sizeof(region_path), "%s/region", dir);
	write_conf("");
	region_open();
}

static void
teardown(void)
{
	DIR *d = opendir(dir);
	char path[400];

	region_detach(&region);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		(void)unlink(path);
	}
	closedir(d);
	(void)rmdir(dir);
}

TestSuite(control_publish, .init = setup, .fini = teardown);

// --- the dataplane's side ---

static void
plane_start(uint64_t epoch)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	region.head->plane_pid = (uint64_t)getpid();
	region.head->plane_epoch = epoch;
	region.head->plane_beat_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	region.head->state = REGION_RUNNING;
	region.head->workers = 2;
}

// What it does first with the policy that it starts from.
static void
plane_boot(uint64_t epoch)
{
	struct policy_view v;
	uint64_t generation;
	struct strbuf why;
	char mem[200];
	size_t size;
	void *image = region_take(&region, 0, &size, &generation);

	cr_assert(image != NULL);
	strbuf_init(&why, mem, sizeof(mem));
	cr_assert(policy_view_open(&v, image, size, &why) == POLICY_OK, "%s", mem);
	machine_sig_of(&region.head->machine, &v);
	free(image);
	plane_start(epoch);
}

// Copies the newest image out; with `work`, the workers switch to it. Returns its generation, 0:
// none.
static uint64_t
plane_take(uint64_t above, bool work, struct policy_view *v, void **image)
{
	uint64_t generation = 0;
	struct strbuf why;
	char mem[200];
	size_t size;

	*image = region_take(&region, above, &size, &generation);
	if (*image == NULL)
		return 0;
	strbuf_init(&why, mem, sizeof(mem));
	cr_assert(policy_view_open(v, *image, size, &why) == POLICY_OK, "%s", mem);
	cr_assert(v->head->generation == generation);
	for (uint32_t w = 0; work && w < 2; w++)
		region.head->worker[w].generation = generation;
	return generation;
}

static struct runtime *
open_runtime(uint32_t errors)
{
	struct runtime_paths paths = {.config_file = conf, .state_dir = dir};
	struct diag_list d;

	diag_init(&d, NULL);
	struct runtime *rt = runtime_open(&paths, &d);
	cr_assert(rt != NULL);
	cr_assert(d.errors == errors, "%s", d.count > 0 ? d.row[0].text : "none");
	diag_fini(&d);
	return rt;
}

static struct runtime *
open_attached(void)
{
	struct diag_list d;
	struct runtime *rt = open_runtime(0);

	diag_init(&d, NULL);
	runtime_attach(rt, &region, &d);
	cr_assert(d.count == 0);
	diag_fini(&d);
	return rt;
}

static struct ipprefix
prefix(const char *s)
{
	struct ipprefix p;

	cr_assert(ipprefix_parse(span_str(s), &p));
	return p;
}

// One call with its diagnostics: the result, and the text of the first row in `said`.
static char said[512];

static enum runtime_result
ip_add(struct runtime *rt, enum store_list list, const char *text, uint64_t expires_s)
{
	struct ipprefix p = prefix(text);
	struct diag_list d;

	diag_init(&d, NULL);
	enum runtime_result r = runtime_ip_add(rt, list, &p, expires_s, "why", &d);
	snprintf(said, sizeof(said), "%s", d.count > 0 ? d.row[0].text : "");
	cr_assert(diag_has_error(&d) == (r == RUNTIME_REFUSED));
	diag_fini(&d);
	return r;
}

static enum runtime_result
ip_del(struct runtime *rt, enum store_list list, const char *text)
{
	struct ipprefix p = prefix(text);
	struct diag_list d;

	diag_init(&d, NULL);
	enum runtime_result r = runtime_ip_del(rt, list, &p, &d);
	snprintf(said, sizeof(said), "%s", d.count > 0 ? d.row[0].text : "");
	cr_assert(diag_has_error(&d) == (r == RUNTIME_REFUSED));
	diag_fini(&d);
	return r;
}

static enum runtime_result
apply(struct runtime *rt, const char *file)
{
	struct diag_list d;

	diag_init(&d, NULL);
	enum runtime_result r = runtime_apply(rt, file, 0, &d);
	snprintf(said, sizeof(said), "%s", d.count > 0 ? d.row[d.count - 1].text : "");
	cr_assert(diag_has_error(&d) == (r == RUNTIME_REFUSED));
	diag_fini(&d);
	return r;
}

// --- publishing ---

Test(control_publish, first_policy)
{
	struct policy_view v;
	void *image;
	struct runtime *rt = open_attached();

	cr_assert(runtime_has_policy(rt));
	uint64_t g = runtime_generation(rt);
	cr_assert(g > 0);
	cr_assert(runtime_publish_state(rt) ==
		  PUBLISH_SENT); // nobody lives there: the slot is free
	cr_assert(!runtime_is_in_force(rt));
	plane_start(1);
	cr_assert(plane_take(0, false, &v, &image) == g);
	cr_assert(runtime_poll(rt));
	cr_assert(runtime_publish_state(rt) == PUBLISH_TAKEN);
	cr_assert(!runtime_is_in_force(rt)); // taken, but the workers are not there yet
	region.head->worker[0].generation = g;
	cr_assert(!runtime_is_in_force(rt));
	region.head->worker[1].generation = g;
	cr_assert(runtime_is_in_force(rt));
	cr_assert(!runtime_poll(rt)); // nothing new
	free(image);
	runtime_close(&rt);
}

Test(control_publish, change_waits_for_the_slot)
{
	struct policy_view v;
	void *image;
	struct ipaddr a;
	struct runtime *rt = open_attached();
	uint64_t g = runtime_generation(rt);

	plane_start(1); // lives, and has not copied g yet
	cr_assert(ip_add(rt, STORE_BLOCK, "192.0.2.0/24", 0) == RUNTIME_OK);
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_PENDING);
	cr_assert(ip_add(rt, STORE_BLOCK, "198.51.100.1", 0) ==
		  RUNTIME_OK); // replaces the pending one
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_PENDING);
	cr_assert(runtime_generation(rt) > g);
	cr_assert(plane_take(0, true, &v, &image) == g);
	cr_assert(v.count[POLICY_IP_BLOCK] == 0);
	free(image);
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_SENT);
	cr_assert(!runtime_is_in_force(rt));
	cr_assert(plane_take(g, true, &v, &image) == runtime_generation(rt));
	cr_assert(v.count[POLICY_IP_BLOCK] == 2);
	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.9"), &a));
	cr_assert(policy_ip_find(&v, POLICY_IP_BLOCK, &a, 1) != NULL);
	runtime_poll(rt);
	cr_assert(runtime_is_in_force(rt));
	free(image);
	runtime_close(&rt);
}

Test(control_publish, generations_rise_across_restarts)
{
	struct policy_view v;
	void *image;
	struct runtime *rt = open_attached();

	plane_start(1);
	for (uint32_t i = 0; i < 3; i++) {
		char text[32];
		snprintf(text, sizeof(text), "10.9.0.%u", i);
		cr_assert(plane_take(0, true, &v, &image) > 0);
		free(image);
		cr_assert(ip_add(rt, STORE_BLOCK, text, 0) == RUNTIME_OK);
		runtime_poll(rt);
	}
	uint64_t before = runtime_generation(rt);
	runtime_close(&rt);
	region_detach(&region);
	region_open(); // adopted, not made anew
	cr_assert(region.head->generation == before);
	cr_assert(plane_take(0, true, &v, &image) == before);
	free(image);
	rt = open_attached();
	cr_assert(runtime_generation(rt) > before);
	cr_assert(runtime_publish_state(rt) == PUBLISH_SENT);
	cr_assert(plane_take(before, true, &v, &image) == runtime_generation(rt));
	cr_assert(v.count[POLICY_IP_BLOCK] == 3); // from the store
	free(image);
	runtime_close(&rt);
}

Test(control_publish, refusal_is_reported)
{
	struct policy_view v;
	void *image;
	struct runtime *rt = open_attached();

	plane_start(1);
	cr_assert(plane_take(0, false, &v, &image) > 0);
	free(image);
	snprintf(region.head->why, sizeof(region.head->why), "no such core\x1b[1m");
	region.head->refused_generation = runtime_generation(rt);
	cr_assert(runtime_poll(rt));
	cr_assert(runtime_publish_state(rt) == PUBLISH_REFUSED);
	cr_assert_str_eq(runtime_publish_why(rt), "no such core?[1m");
	cr_assert(!runtime_is_in_force(rt));
	cr_assert(ip_add(rt, STORE_BLOCK, "10.9.0.1", 0) ==
		  RUNTIME_OK); // the next one has a new chance
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_SENT);
	cr_assert(plane_take(0, true, &v, &image) == runtime_generation(rt));
	free(image);
	runtime_poll(rt);
	cr_assert(runtime_is_in_force(rt));
	runtime_close(&rt);
}

// The dataplane's words are input: generations that we never sent mean nothing.
Test(control_publish, lies_are_not_believed)
{
	struct runtime *rt = open_attached();

	plane_start(1);
	region.head->taken_generation = UINT64_MAX;
	region.head->refused_generation = UINT64_MAX;
	region.head->workers = UINT32_MAX;
	memset(region.head->why, 'x', sizeof(region.head->why)); // no NUL
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_SENT);
	cr_assert(!runtime_is_in_force(rt));
	region.head->refused_generation = runtime_generation(rt);
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_REFUSED);
	cr_assert(strlen(runtime_publish_why(rt)) < 256);
	runtime_close(&rt);
}

// A region that cannot take any more generations: said, not tried for ever.
Test(control_publish, region_that_takes_nothing)
{
	struct runtime *rt = open_attached();

	region.head->generation = UINT64_MAX;
	cr_assert(ip_add(rt, STORE_BLOCK, "10.9.0.1", 0) == RUNTIME_OK);
	runtime_poll(rt);
	cr_assert(runtime_publish_state(rt) == PUBLISH_REFUSED);
	cr_assert(strstr(runtime_publish_why(rt), "the region does not take it") != NULL);
	runtime_close(&rt);
}

// --- the file ---

Test(control_publish, wrong_file_keeps_the_old_policy)
{
	struct diag_list d;
	struct runtime *rt = open_attached();
	uint64_t g = runtime_generation(rt);

	diag_init(&d, NULL);
	write_conf("limits: {recipients_max: 0, hops_maxx: 7}\n");
	cr_assert(runtime_check(rt, NULL, 0, &d) == RUNTIME_REFUSED);
	cr_assert(d.errors == 2); // every mistake, not the first
	cr_assert(runtime_apply(rt, NULL, 0, &d) == RUNTIME_REFUSED);
	cr_assert(d.errors == 2);
	cr_assert(runtime_generation(rt) == g);
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 100);
	write_conf("limits: {recipients_max: 7}\n");
	cr_assert(runtime_check(rt, NULL, 0, &d) == RUNTIME_OK);
	cr_assert(runtime_generation(rt) == g); // a check changes nothing
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 100);
	cr_assert(apply(rt, NULL) == RUNTIME_OK);
	cr_assert_str_eq(said, "");
	cr_assert(runtime_generation(rt) > g);
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 7);
	cr_assert(runtime_view(rt)->settings->limits_recipients_max == 7);
	cr_assert(strstr(runtime_config(rt)->text, "recipients_max: 7") != NULL);
	cr_assert(apply(rt, "/nonexistent") == RUNTIME_REFUSED);
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 7);
	diag_fini(&d);
	runtime_close(&rt);
}

Test(control_publish, wrong_file_at_the_start)
{
	struct diag_list d;

	write_conf("limits: 5\n");
	struct runtime *rt = open_runtime(1);
	cr_assert(!runtime_has_policy(rt));
	cr_assert(runtime_view(rt) == NULL && runtime_config(rt) == NULL);
	diag_init(&d, NULL);
	runtime_attach(rt, &region, &d);
	runtime_poll(rt);
	cr_assert(region.head->generation == 0); // nothing published
	// The lists can be changed; it comes into force with the file.
	cr_assert(ip_add(rt, STORE_BLOCK, "10.9.0.1", 0) == RUNTIME_OK);
	cr_assert(runtime_ip_count(rt, STORE_BLOCK) == 1);
	cr_assert(runtime_agent_priority(rt, AGENT_content_filter, 1, &d) == RUNTIME_REFUSED);
	write_conf("");
	cr_assert(apply(rt, NULL) == RUNTIME_OK);
	runtime_poll(rt);
	cr_assert(region.head->generation == runtime_generation(rt));
	cr_assert(runtime_view(rt)->count[POLICY_IP_BLOCK] == 1);
	diag_fini(&d);
	runtime_close(&rt);
}

Test(control_publish, other_file_and_text)
{
	struct diag_list d;
	char other[100], text[600];
	struct runtime *rt = open_attached();

	diag_init(&d, NULL);
	write_conf("limits: {recipients_max: 8}\n");
	snprintf(other, sizeof(other), "%s/other.yaml", dir);
	cr_assert(rename(conf, other) == 0);
	cr_assert(apply(rt, other) == RUNTIME_OK);
	cr_assert(strstr(said, "until posternd starts anew") != NULL);
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 8);
	cr_assert_str_eq(runtime_config_file(rt), conf);
	snprintf(text, sizeof(text), "%s%s", base_text, "limits: {recipients_max: 9}\n");
	cr_assert(runtime_check_text(rt, "stdin", text, strlen(text), &d) == RUNTIME_OK);
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 8);
	cr_assert(runtime_apply_text(rt, "stdin", text, strlen(text), &d) == RUNTIME_OK);
	cr_assert(runtime_setting(rt, SETTING_limits_recipients_max).number == 9);
	diag_fini(&d);
	runtime_close(&rt);
}

Test(control_publish, restart_needed)
{
	struct policy_view v;
	void *image;
	struct strbuf b;
	char mem[200];
	struct runtime *rt = open_attached();

	strbuf_init(&b, mem, sizeof(mem));
	plane_boot(1);
	cr_assert(plane_take(0, true, &v, &image) > 0);
	free(image);
	runtime_poll(rt);
	write_conf("limits: {recipients_max: 8}\n# a line more\n");
	cr_assert(apply(rt, NULL) == RUNTIME_OK);
	cr_assert_str_eq(said, "");
	FILE *f = fopen(conf, "w");
	fprintf(f, "%s",
		"server: {hostname: mx.example.org, accepted_domains: [example.org]}\n"
		"machine:\n  cores: [1, 2]\n  frames: 2048\n"
		"  ports: [{name: a, device: net_tap0, address: 10.0.0.9/8}]\n"
		"listeners: [{port: a, tcp_port: 26, direction: inbound}]\n"
		"backends: [{name: b, address: 10.0.0.3, tcp_port: 25, direction: inbound}]\n");
	fclose(f);
	cr_assert(apply(rt, NULL) == RUNTIME_OK);
	cr_assert_str_eq(said,
			 "needs a restart of postern-dataplane: machine.ports, machine.cores, "
			 "machine.frames, listeners");
	runtime_poll(rt);
	// posternd starts anew, with a newer policy in the region: the names are still right.
	cr_assert(plane_take(0, true, &v, &image) > 0);
	free(image);
	runtime_poll(rt);
	runtime_close(&rt);
	region_detach(&region);
	region_open();
	rt = open_attached();
	runtime_restart_needed(rt, &b);
	cr_assert_str_eq(mem, "machine.ports, machine.cores, machine.frames, listeners");
	strbuf_reset(&b);
	region.head->plane_beat_us -= 3600 * 1000000ull; // nothing lives that would need a restart
	runtime_restart_needed(rt, &b);
	cr_assert_str_eq(mem, "");
	plane_boot(2); // the dataplane starts anew
	runtime_poll(rt);
	runtime_restart_needed(rt, &b);
	cr_assert_str_eq(mem, "");
	// The file goes back to what it was: what runs is now what differs.
	write_conf("");
	cr_assert(apply(rt, NULL) == RUNTIME_OK);
	cr_assert(strstr(said, "machine.ports, machine.cores") != NULL, "%s", said);
	runtime_close(&rt);
}

// --- lists and agents ---

Test(control_publish, ip_lists)
{
	write_conf("connection_filtering:\n  block:\n    - 192.0.2.0/24\n"
		   "    - {prefix: 192.0.3.0/24, expires: 2099-01-01}\n");
	struct runtime *rt = open_attached();
	uint64_t g = runtime_generation(rt);

	cr_assert(ip_del(rt, STORE_BLOCK, "192.0.2.0/24") == RUNTIME_REFUSED);
	cr_assert(strstr(said, "postern.yaml line 10") != NULL, "%s", said);
	cr_assert(ip_del(rt, STORE_BLOCK, "192.0.2.1") == RUNTIME_REFUSED);
	cr_assert(strstr(said, "is not on the block list") != NULL);
	cr_assert(ip_add(rt, STORE_BLOCK, "192.0.2.0/24", 0) == RUNTIME_NOTHING);
	cr_assert(strstr(said, "line 10") != NULL);
	cr_assert(runtime_generation(rt) == g); // nothing has changed
	cr_assert(ip_add(rt, STORE_BLOCK, "10.0.0.1", 1) == RUNTIME_REFUSED);
	cr_assert(strstr(said, "not in the future") != NULL);
	cr_assert(ip_add(rt, STORE_BLOCK, "192.0.3.0/24", 0) == RUNTIME_OK); // outlives the file's
	cr_assert(ip_add(rt, STORE_BLOCK, "10.0.0.1", 4102444800) == RUNTIME_OK);
	cr_assert(ip_add(rt, STORE_ALLOW, "10.0.0.1", 0) == RUNTIME_OK);
	cr_assert(runtime_generation(rt) == g + 3);
	cr_assert(runtime_ip_count(rt, STORE_BLOCK) == 4);
	cr_assert(runtime_ip_count(rt, STORE_ALLOW) == 1);
	struct runtime_ip ip = runtime_ip_at(rt, STORE_BLOCK, 0);
	cr_assert(ip.line == 10 && ip.added_s == 0 && ip.prefix.bits == 120);
	ip = runtime_ip_at(rt, STORE_BLOCK, 2);
	cr_assert(ip.line == 0 && ip.added_s > 0 && ip.expires_s == 4102444800);
	cr_assert_str_eq(ip.comment, "why");
	cr_assert(ip_del(rt, STORE_BLOCK, "192.0.3.0/24") == RUNTIME_OK);
	cr_assert(strstr(said, "stays on the block list") != NULL);
	cr_assert(ip_del(rt, STORE_BLOCK, "10.0.0.1") == RUNTIME_OK);
	cr_assert_str_eq(said, "");
	cr_assert(runtime_view(rt)->count[POLICY_IP_BLOCK] == 2);
	cr_assert(runtime_view(rt)->count[POLICY_IP_ALLOW] == 1);
	runtime_close(&rt);
	rt = open_runtime(0);
	cr_assert(runtime_ip_count(rt, STORE_ALLOW) == 1); // durable
	cr_assert(runtime_ip_count(rt, STORE_BLOCK) == 2);
	runtime_close(&rt);
}

// The first agents, as many as the test's file puts in order.
#define ORDERED 5

static void
order_is(const struct runtime *rt, const enum agent_id want[ORDERED])
{
	for (uint32_t p = 1; p <= ORDERED; p++)
		cr_expect(runtime_agent_at(rt, p).agent == want[p - 1], "%u is %s", p,
			  agent_name(runtime_agent_at(rt, p).agent));
}

Test(control_publish, agents)
{
	static const enum agent_id CF = AGENT_connection_filtering, CO = AGENT_content_filter,
				   SF = AGENT_sender_filter, RF = AGENT_recipient_filter,
				   AF = AGENT_attachment_filtering;
	struct diag_list d;

	write_conf("agents:\n"
		   "  order: [Connection Filtering, Content Filter, Sender Filter,\n"
		   "          Recipient Filter, Attachment Filtering]\n"
		   "  disabled: [Content Filter]\n");
	struct runtime *rt = open_attached();
	diag_init(&d, NULL);
	order_is(rt, (enum agent_id[ORDERED]){CF, CO, SF, RF, AF});
	cr_assert(!runtime_agent_at(rt, 2).enabled && !runtime_agent_at(rt, 2).enabled_from_cli);
	cr_assert(runtime_agent_enable(rt, AGENT_content_filter, true, &d) == RUNTIME_OK);
	cr_assert(runtime_agent_at(rt, 2).enabled && runtime_agent_at(rt, 2).enabled_from_cli);
	cr_assert(runtime_agent_priority(rt, AGENT_attachment_filtering, 1, &d) == RUNTIME_OK);
	order_is(rt, (enum agent_id[ORDERED]){AF, CF, CO, SF, RF});
	cr_assert(runtime_agent_priority(rt, AGENT_attachment_filtering, 3, &d) == RUNTIME_OK);
	order_is(rt, (enum agent_id[ORDERED]){CF, CO, AF, SF, RF});
	cr_assert(runtime_agent_priority(rt, AGENT_connection_filtering, ORDERED, &d) ==
		  RUNTIME_OK);
	order_is(rt, (enum agent_id[ORDERED]){CO, AF, SF, RF, CF});
	cr_assert(runtime_agent_at(rt, 1).priority_from_cli);
	cr_assert(d.count == 0);
	cr_assert(runtime_agent_priority(rt, AGENT_connection_filtering, 0, &d) == RUNTIME_REFUSED);
	cr_assert(runtime_agent_priority(rt, AGENT_connection_filtering, AGENT_COUNT + 1, &d) ==
		  RUNTIME_REFUSED);
	cr_assert(runtime_view(rt)->agents[AGENT_content_filter].enabled == 1);
	cr_assert(runtime_view(rt)->order[EVENT_END_OF_DATA].agent[0] == AGENT_content_filter);
	runtime_close(&rt);
	rt = open_attached();
	order_is(rt, (enum agent_id[ORDERED]){CO, AF, SF, RF, CF});
	cr_assert(runtime_agent_reset(rt, AGENT_content_filter, &d) == RUNTIME_OK);
	cr_assert(!runtime_agent_at(rt, 2).enabled);
	order_is(rt, (enum agent_id[ORDERED]){AF, CO, SF, RF, CF}); // the file's place, 2
	cr_assert(runtime_agent_reset(rt, AGENT_COUNT, &d) == RUNTIME_OK);
	order_is(rt, (enum agent_id[ORDERED]){CF, CO, SF, RF, AF});
	uint64_t g = runtime_generation(rt);
	cr_assert(runtime_agent_reset(rt, AGENT_COUNT, &d) == RUNTIME_OK);
	cr_assert(runtime_generation(rt) == g);
	diag_fini(&d);
	runtime_close(&rt);
}

// The store took it, but no policy can be made of it (a row more than an image may have): refused,
// and the store has what it had before.
Test(control_publish, change_is_taken_back)
{
	FILE *f = fopen(conf, "a");

	cr_assert(f != NULL);
	fprintf(f, "connection_filtering: {block: [");
	for (uint32_t i = 0; i < POLICY_LIST_MAX; i++)
		fprintf(f, "%u.%u.%u.2,", 1 + (i >> 16), i >> 8 & 255, i & 255);
	fprintf(f, "]}\n");
	fclose(f);
	struct runtime *rt = open_attached();
	uint64_t g = runtime_generation(rt);
	cr_assert(runtime_ip_count(rt, STORE_BLOCK) == POLICY_LIST_MAX);
	cr_assert(ip_add(rt, STORE_BLOCK, "240.0.0.1", 0) == RUNTIME_REFUSED);
	cr_assert(strstr(said, "rows") != NULL, "%s", said);
	cr_assert(runtime_ip_count(rt, STORE_BLOCK) == POLICY_LIST_MAX);
	cr_assert(runtime_generation(rt) == g);
	cr_assert(ip_add(rt, STORE_ALLOW, "240.0.0.1", 0) == RUNTIME_OK); // the other list has room
	runtime_close(&rt);
}

// Without a database nothing is acknowledged, and nothing changes; mail goes on.
Test(control_publish, store_not_writable)
{
	struct runtime_paths paths = {.config_file = conf, .state_dir = "/proc/nothing/here"};
	struct diag_list d;

	diag_init(&d, NULL);
	struct runtime *rt = runtime_open(&paths, &d);
	cr_assert(rt != NULL && runtime_has_policy(rt));
	cr_assert(d.warnings == 1 && d.errors == 0);
	cr_assert(!runtime_store_is_writable(rt));
	diag_reset(&d);
	runtime_attach(rt, &region, &d);
	uint64_t g = runtime_generation(rt);
	cr_assert(ip_add(rt, STORE_BLOCK, "10.0.0.1", 0) == RUNTIME_REFUSED);
	cr_assert(strstr(said, "not stored, so not done") != NULL);
	cr_assert(runtime_agent_enable(rt, AGENT_content_filter, false, &d) == RUNTIME_REFUSED);
	cr_assert(runtime_generation(rt) == g);
	cr_assert(runtime_agent_at(rt, runtime_view(rt)->agents[AGENT_content_filter].priority)
			  .enabled);
	diag_fini(&d);
	runtime_close(&rt);
}
