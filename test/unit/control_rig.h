// SPDX-License-Identifier: Apache-2.0
// control_rig: posternd's API over its real socket, store, region and log, with a dataplane that
// the test plays: it holds the lock, takes policies, answers commands, and lies.
//
// Who calls it: the tests control_api*. Memory: bench_open to bench_close. What can go wrong: the
// test fails where it happens.
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/api.h"

#define CLIENTS 3

struct bench {
	struct api api;
	struct server *server;
	struct runtime *runtime;
	struct region region;
	struct events events;
	struct log_writer *log;
	struct plane plane;
	char dir[64], config[96], socket[96], log_path[96], lock[96], region_path[96];
	uint64_t now_ms;
	int client[CLIENTS];
	// the dataplane
	int lock_fd; // -1: it does not live
	bool takes;  // it takes policies
	uint64_t in_force;
	struct command command; // the last one that was taken
};

static const char config_text[] =
	"server:\n"
	"  hostname: mx.example.org\n"
	"  accepted_domains: [example.org]\n"
	"machine:\n"
	"  cores: [0, 1]\n"
	"  ports:\n"
	"    - name: outside\n"
	"      device: \"net_af_packet0,iface=pst0\"\n"
	"      address: 192.0.2.10/24\n"
	"listeners:\n"
	"  - {port: outside, tcp_port: 25, direction: inbound}\n"
	"backends:\n"
	"  - {name: mail1, address: 192.0.2.20, tcp_port: 25, direction: inbound}\n"
	"connection_filtering:\n"
	"  block:\n"
	"    - {prefix: 198.51.100.0/24, comment: noise}\n";

static inline uint64_t
clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static inline void
config_write(struct bench *b, const char *text)
{
	FILE *f = fopen(b->config, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

// --- the dataplane that the test plays ---

static inline void
plane_begin(struct bench *b, uint32_t workers)
{
	struct region_head *h = b->region.head;

	b->lock_fd = open(b->lock, O_RDWR | O_CREAT, 0600);
	cr_assert_eq(flock(b->lock_fd, LOCK_EX | LOCK_NB), 0);
	h->workers = workers;
	h->plane_pid = 4711;
	h->state = REGION_RUNNING;
	h->plane_beat_us = clock_us();
	b->takes = true;
}

static inline void
plane_end(struct bench *b)
{
	close(b->lock_fd);
	b->lock_fd = -1;
}

static inline void
plane_turn(struct bench *b)
{
	struct region_head *h = b->region.head;
	uint64_t generation;
	size_t size;

	if (b->lock_fd < 0)
		return;
	h->plane_beat_us = clock_us();
	if (!b->takes)
		return;
	void *image = region_take(&b->region, b->in_force, &size, &generation);
	if (image == NULL)
		return;
	free(image);
	b->in_force = generation;
	for (uint32_t w = 0; w < MIN(h->workers, REGION_WORKERS_MAX); w++)
		h->worker[w].generation = generation;
}

// The number of the session list that a worker was asked for; 0: it was not.
static inline uint64_t
command_take(struct bench *b, uint32_t worker)
{
	struct command c;
	struct ring ring;

	cr_assert(region_commands(&b->region, worker, &ring));
	if (!ring_get(&ring, &c))
		return 0;
	b->command = c;
	return c.request;
}

static inline void
record_send(struct bench *b, uint32_t worker, uint8_t kind, uint64_t request, const char *helo)
{
	struct logrec r;
	struct ring ring;

	logrec_init(&r);
	r.kind = kind;
	r.request = request;
	r.worker = (uint8_t)worker;
	r.session_id = 0x100u + worker;
	r.us = 75 * 1000000;
	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.5"), &r.client));
	logrec_set(&r, LOGREC_HELO, span_str(helo));
	logrec_set(&r, LOGREC_EVIDENCE, SPAN_LIT("tarpit"));
	cr_assert(region_events(&b->region, worker, &ring));
	cr_assert(ring_put(&ring, &r));
}

static inline void
raw_send(struct bench *b, uint8_t kind, uint64_t request, struct span raw, bool has_more)
{
	struct logrec r;
	struct ring ring;

	logrec_init(&r);
	r.kind = kind;
	r.request = request;
	r.session_id = 0xabc;
	r.cut = has_more;
	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.5"), &r.client));
	logrec_raw_set(&r, raw);
	cr_assert(region_events(&b->region, 0, &ring));
	cr_assert(ring_put(&ring, &r));
}

// --- posternd ---

static inline void
turn(struct bench *b)
{
	struct pollfd fds[SERVER_POLL_FDS];
	uint32_t n = server_poll_fds(b->server, fds);

	cr_assert(poll(fds, n, 0) >= 0);
	plane_turn(b);
	(void)events_drain(&b->events);
	(void)log_writer_flush(b->log);
	(void)plane_poll(&b->plane, b->now_ms);
	(void)runtime_poll(b->runtime);
	b->api.now_ms = b->now_ms;
	server_run(b->server, fds, n, b->now_ms);
	(void)api_poll(&b->api, b->now_ms);
}

static inline void
turns(struct bench *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		turn(b);
}

static inline void
posternd_begin(struct bench *b)
{
	struct runtime_paths paths = {.config_file = b->config, .state_dir = b->dir};
	char reason[512];
	struct strbuf why;
	struct diag_list d;

	strbuf_init(&why, reason, sizeof(reason));
	diag_init(&d, NULL);
	b->log = log_writer_open(b->log_path, &why);
	cr_assert_not_null(b->log, "%s", reason);
	cr_assert_eq(region_create(&b->region, b->region_path, b->lock_fd >= 0, &why), 0, "%s",
		     reason);
	b->runtime = runtime_open(&paths, &d);
	cr_assert_not_null(b->runtime);
	runtime_attach(b->runtime, &b->region, &d);
	diag_fini(&d);
	plane_init(&b->plane, b->dir);
	plane_attach(&b->plane, &b->region);
	events_init(&b->events, &b->region, b->log, api_session_record, &b->api);
	b->server = server_open(b->socket, api_line, &b->api, &why);
	cr_assert_not_null(b->server, "%s", reason);
	b->api = (struct api){.server = b->server,
			      .runtime = b->runtime,
			      .region = &b->region,
			      .events = &b->events,
			      .log = b->log,
			      .plane = &b->plane,
			      .run_dir = b->dir,
			      .state_dir = b->dir,
			      .request_last = 1000};
	for (uint32_t i = 0; i < CLIENTS; i++) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		memcpy(a.sun_path, b->socket, strlen(b->socket) + 1);
		b->client[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		cr_assert_eq(connect(b->client[i], (struct sockaddr *)&a, sizeof(a)), 0);
	}
	turn(b);
}

static inline void
posternd_end(struct bench *b)
{
	for (uint32_t i = 0; i < CLIENTS; i++)
		close(b->client[i]);
	api_fini(&b->api);
	server_close(&b->server);
	runtime_close(&b->runtime);
	log_writer_close(&b->log);
	region_detach(&b->region);
}

static inline struct bench *
bench_open(void)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->lock_fd = -1;
	b->now_ms = 100000;
	snprintf(b->dir, sizeof(b->dir), "/tmp/control_api.XXXXXX");
	cr_assert_not_null(mkdtemp(b->dir));
	snprintf(b->config, sizeof(b->config), "%s/postern.yaml", b->dir);
	snprintf(b->socket, sizeof(b->socket), "%s/control.sock", b->dir);
	snprintf(b->log_path, sizeof(b->log_path), "%s/message.log", b->dir);
	snprintf(b->lock, sizeof(b->lock), "%s/%s", b->dir, PLANE_LOCK_FILE);
	snprintf(b->region_path, sizeof(b->region_path), "%s/region", b->dir);
	config_write(b, config_text);
	posternd_begin(b);
	cr_assert(runtime_has_policy(b->runtime));
	return b;
}

static inline void
bench_close(struct bench *b)
{
	char path[512];

	posternd_end(b);
	if (b->lock_fd >= 0)
		plane_end(b);
	DIR *d = opendir(b->dir);
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		snprintf(path, sizeof(path), "%s/%s", b->dir, e->d_name);
		if (e->d_name[0] != '.')
			(void)unlink(path);
	}
	closedir(d);
	cr_assert_eq(rmdir(b->dir), 0);
	free(b);
}

static inline void
ask(struct bench *b, uint32_t client, const char *line)
{
	cr_assert_eq(send(b->client[client], line, strlen(line), 0), (ssize_t)strlen(line));
	cr_assert_eq(send(b->client[client], "\n", 1, 0), 1);
}

// The answer that is there now; NULL: none.
static inline json_t *
answer(struct bench *b, uint32_t client)
{
	static char got[1 << 20];
	ssize_t n = recv(b->client[client], got, sizeof(got), 0);

	if (n < 0)
		return NULL;
	cr_assert(n > 0, "closed");
	cr_assert_eq(got[n - 1], '\n');
	json_t *o = json_loadb(got, (size_t)n, JSON_ALLOW_NUL, NULL);
	cr_assert_not_null(o, "not JSON: %.*s", (int)n, got);
	return o;
}

static inline json_t *
asked(struct bench *b, const char *line)
{
	ask(b, 0, line);
	turns(b, 4);
	json_t *o = answer(b, 0);
	cr_assert_not_null(o, "no answer to %s", line);
	return o;
}

static inline void
assert_exit(json_t *o, int want)
{
	char *text = json_dumps(o, 0);

	cr_assert_eq(json_integer_value(json_object_get(o, "exit")), want, "%s", text);
	cr_assert_eq(json_is_true(json_object_get(o, "ok")), want == 0, "%s", text);
	cr_assert(want == 0 || json_array_size(json_object_get(o, "errors")) > 0, "%s", text);
	free(text);
}

static inline const char *
data_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(o, "data"), key));

	cr_assert_not_null(s, "%s", key);
	return s;
}
