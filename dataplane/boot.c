// SPDX-License-Identifier: Apache-2.0
// boot: the stages, the workers' loop, and the main thread's loop. Functions named worker_* run on
// the worker's core, all others in the main thread.

#include "dataplane/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_pause.h>
#include <rte_version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/eal.h"
#include "dataplane/ifaces.h"
#include "dataplane/policy_feed.h"
#include "dataplane/port_dpdk.h"
#include "dataplane/worker.h"

#define WAIT_MS 20u     // between two looks for posternd's region
#define BEAT_MS 5u      // of the main thread
#define LINK_BEATS 40u  // between two looks at the links: a fifth of a second
#define IDLE_LOOPS 200u // without work before a worker gives its core away (machine.idle_yield)
#define IDLE_SLEEP_US 50u
#define WALL_STEP_US 1000u // the wall clock is read this often
#define PATH_SIZE 512u
#define LOCK_TRIES 100 // of LOCK_STEP_US each: two seconds
#define LOCK_STEP_US 20000

enum worker_life { WORKER_OPENING, WORKER_OPEN, WORKER_FAILED };

struct boot_worker { // of one core
	struct boot *boot;
	uint32_t index, cpu;
	int node;
	struct eal_memory memory;
	struct port_dpdk *port; // [ifaces.port_count], from `memory`
	struct counters *counters;
	struct ring events, commands;
	struct worker_args args;
	struct worker *worker; // valid from WORKER_OPEN until the thread ends
	uint32_t life;         // enum worker_life, atomic
	bool is_launched;
	char why[256];
};

struct boot {
	char run_dir[PATH_SIZE];
	int lock_fd;
	bool has_pid_file;
	struct region region;
	struct policy_feed feed;
	const struct policy_use *first; // the policy that boot works from, in the feed
	bool has_dpdk;
	uint32_t worker_count;
	struct ifaces ifaces;
	struct port_dpdk_dev dev[POLICY_PORTS_MAX]; // [ifaces.port_count]
	struct steer *steer;                        // NULL: one worker
	uint8_t key[STEER_KEY_SIZE];
	bool is_yielding;
	uint64_t tsc_start, mono_start_us, us_per_tsc; // the last: a fraction of 2^64
	uint32_t is_stopping;                          // atomic
	struct strbuf warnings;
	char warnings_text[512];
	struct boot_worker worker[POLICY_CORES_MAX];
};

struct stage {
	const char *name;
	const char *needs; // what an operator has to provide for it
	bool (*up)(struct boot *b, struct strbuf *why);
	void (*down)(struct boot *b); // also after a failed up; NULL: nothing to undo
};

// A signal handler and the check hook get no context: these two are the only state outside struct
// boot.
static volatile sig_atomic_t stop_signal;
static __thread uint32_t this_worker = UINT32_MAX;

// --- small things ---

static void
say(const char *kind, const char *text)
{
	fprintf(stderr, "postern-dataplane: %s%s\n", kind, text);
}

// Must not allocate and must not lock: the heap may be what is broken.
static void
on_check(const char *file, int line, const char *what)
{
	char text[512];
	int n;

	if (this_worker == UINT32_MAX)
		n = snprintf(text, sizeof(text), "postern-dataplane: main thread: %s:%d: %s\n",
			     file, line, what);
	else
		n = snprintf(text, sizeof(text), "postern-dataplane: worker %u: %s:%d: %s\n",
			     this_worker, file, line, what);
	if (n > 0 && write(STDERR_FILENO, text, MIN((size_t)n, sizeof(text) - 1)) < 0)
		return; // nobody listens: the trap follows all the same
}

static void
on_signal(int sig)
{
	stop_signal = sig;
}

static uint64_t
clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
sleep_us(uint32_t us)
{
	const struct timespec t = {.tv_nsec = us * 1000l};

	CHECK(us < 1000000);
	nanosleep(&t, NULL); // a signal may end it early
}

static bool
fail_errno(struct strbuf *why, const char *what, const char *path)
{
	strbuf_addf(why, "%s %s: %s", what, path, strerror(errno));
	return false;
}

static bool
path_in(const struct boot *b, const char *name, char *to)
{
	struct strbuf s;

	strbuf_init(&s, to, PATH_SIZE);
	strbuf_addf(&s, "%s/%s", b->run_dir, name);
	return !s.truncated;
}

static void
warn(struct boot *b, const char *text)
{
	say("warning: ", text);
	strbuf_addf(&b->warnings, "%s\n", text);
}

static void
head_text(char *to, uint32_t size, const char *text)
{
	struct strbuf s;

	CHECK(size > 0);
	CHECK(text != NULL);
	strbuf_init(&s, to, size);
	strbuf_add_str(&s, text);
}

static void
head_beat(struct boot *b)
{
	__atomic_store_n(&b->region.head->plane_beat_us, clock_us(CLOCK_MONOTONIC),
			 __ATOMIC_RELAXED);
}

static void
head_state(struct boot *b, enum region_state state)
{
	struct region_head *h = b->region.head;

	if (h == NULL)
		return;
	head_beat(b);
	__atomic_store_n(&h->workers, state == REGION_RUNNING ? b->worker_count : 0,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&h->state, state, __ATOMIC_RELEASE);
}

// --- stages: run directory, lock, pid file ---

static bool
lock_up(struct boot *b, struct strbuf *why)
{
	char path[PATH_SIZE];

	if (!path_in(b, "dataplane.lock", path)) {
		strbuf_add_str(why, "the path of the run directory is too long");
		return false;
	}
	if (mkdir(b->run_dir, 0750) != 0 && errno != EEXIST)
		return fail_errno(why, "cannot make", b->run_dir);
	b->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (b->lock_fd < 0)
		return fail_errno(why, "cannot open", path);
	// One that was killed lets go of its lock only when its memory is gone, which takes a
	// moment; who restarts it at once must not be refused for that.
	for (uint32_t i = 0; i < LOCK_TRIES; i++) {
		if (flock(b->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK)
			return fail_errno(why, "cannot lock", path);
		usleep(LOCK_STEP_US);
	}
	strbuf_addf(why, "another dataplane runs in %s", b->run_dir);
	return false;
}

static void
lock_down(struct boot *b)
{
	if (b->lock_fd >= 0)
		close(b->lock_fd); // the file stays: removing it would let two lock different ones
	b->lock_fd = -1;
}

static bool
pid_up(struct boot *b, struct strbuf *why)
{
	char path[PATH_SIZE], text[32];
	struct strbuf s;

	strbuf_init(&s, text, sizeof(text));
	strbuf_addf(&s, "%d\n", (int)getpid());
	if (!path_in(b, "dataplane.pid", path))
		return false;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return fail_errno(why, "cannot write", path);
	bool is_good = write(fd, s.p, s.len) == (ssize_t)s.len;
	is_good = close(fd) == 0 && is_good;
	b->has_pid_file = true;
	return is_good || fail_errno(why, "cannot write", path);
}

static void
pid_down(struct boot *b)
{
	char path[PATH_SIZE];

	if (b->has_pid_file && path_in(b, "dataplane.pid", path))
		unlink(path);
}

// --- stage: the first policy ---

// One look for a newer policy; says why one is refused.
static bool
policy_step(struct boot *b)
{
	char text[256];
	struct strbuf why;

	strbuf_init(&why, text, sizeof(text));
	enum policy_feed_result rc = policy_feed_step(&b->feed, &why);
	if (rc == POLICY_FEED_REFUSED)
		say("policy refused: ", text);
	return rc == POLICY_FEED_TAKEN;
}

static bool
region_try(struct boot *b, struct strbuf *why)
{
	char path[PATH_SIZE];
	struct strbuf reason;
	char text[256];

	strbuf_init(&reason, text, sizeof(text));
	if (!path_in(b, "region", path))
		return false;
	int rc = region_attach(&b->region, path, &reason);
	if (rc == 0)
		return true;
	b->region = (struct region){0};
	if (rc != -ENOENT && rc != -EAGAIN)
		strbuf_addf(why, "%s: %s", path, text);
	return false;
}

// Each look attaches anew: posternd may put a new file in the place of one that was damaged.
static bool
policy_up(struct boot *b, struct strbuf *why)
{
	bool is_said = false;

	while (stop_signal == 0) {
		if (region_try(b, why)) {
			struct region_head *h = b->region.head;
			__atomic_store_n(&h->plane_pid, (uint64_t)getpid(), __ATOMIC_RELAXED);
			head_state(b, REGION_WAITING);
			if (policy_step(b)) {
				CHECK(b->feed.count == 1);
				b->first = b->feed.policy[0];
				return true;
			}
			region_detach(&b->region);
			b->region = (struct region){0};
		}
		if (why->len > 0)
			return false;
		if (!is_said)
			say("waiting for posternd in ", b->run_dir);
		is_said = true;
		sleep_us(WAIT_MS * 1000);
	}
	return false;
}

static void
policy_down(struct boot *b)
{
	policy_feed_fini(&b->feed);
	if (b->region.head == NULL)
		return;
	__atomic_store_n(&b->region.head->plane_pid, 0, __ATOMIC_RELAXED);
	region_detach(&b->region);
	b->region = (struct region){0};
}

// --- stages: DPDK, ports ---

static bool
dpdk_up(struct boot *b, struct strbuf *why)
{
	struct region_head *h = b->region.head;
	const struct policy_view *v = &b->first->view;
	struct eal_args *args = calloc(1, sizeof(*args));

	CHECK(b->first != NULL);
	h->why[0] = 0;
	h->warnings[0] = 0;
	__atomic_store_n(&h->refused_generation, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&h->plane_epoch, clock_us(CLOCK_REALTIME), __ATOMIC_RELAXED);
	machine_sig_of(&h->machine, v);
	head_state(b, REGION_BOOTING);
	bool is_up = args != NULL && eal_check(v, why) &&
		     eal_args_build(args, v, b->run_dir, why) && eal_start(args, why);
	free(args);
	b->has_dpdk = is_up;
	if (!is_up)
		return false;
	unsigned __int128 whole = (unsigned __int128)1000000 << 64;
	b->us_per_tsc = (uint64_t)(whole / rte_get_tsc_hz());
	b->mono_start_us = clock_us(CLOCK_MONOTONIC);
	b->tsc_start = rte_rdtsc();
	do { // one key in three or so is not good
		if (getrandom(b->key, sizeof(b->key), 0) != (ssize_t)sizeof(b->key))
			return fail_errno(why, "no random bytes from", "the kernel");
	} while (!steer_key_is_good(b->key));
	b->is_yielding = v->settings->machine_idle_yield != 0;
	b->worker_count = v->count[POLICY_CORES];
	CHECK(b->worker_count > 0);
	CHECK(b->worker_count <= POLICY_CORES_MAX);
	for (uint32_t i = 0; i < b->worker_count; i++) {
		struct boot_worker *w = &b->worker[i];
		*w = (struct boot_worker){.boot = b, .index = i, .cpu = v->cores[i].cpu};
		w->node = eal_cpu_node(w->cpu);
		eal_memory_init(&w->memory, w->node);
	}
	return true;
}

static void
dpdk_down(struct boot *b)
{
	if (b->has_dpdk) // a start that failed has nothing that could be ended
		eal_stop();
}

static void
ports_warn(struct boot *b, uint32_t i)
{
	const struct port_dpdk_dev *d = &b->dev[i];
	struct span name = ifaces_port_name(&b->ifaces, i);
	char text[160];
	struct strbuf s;

	strbuf_init(&s, text, sizeof(text));
	for (uint32_t w = 0; w < b->worker_count; w++) {
		if (d->node < 0 || b->worker[w].node < 0 || d->node == b->worker[w].node)
			continue;
		strbuf_reset(&s);
		strbuf_addf(&s, "port %.*s is on NUMA node %d, core %u on node %d", SPAN_FMT(name),
			    d->node, b->worker[w].cpu, b->worker[w].node);
		warn(b, text);
	}
	strbuf_reset(&s);
	if (b->worker_count > 1 && !d->has_rss) {
		strbuf_addf(&s,
			    "port %.*s cannot spread flows by our key: workers hand frames over",
			    SPAN_FMT(name));
		warn(b, text);
	}
	strbuf_reset(&s);
	if (ifaces_port_has_v6(&b->ifaces, i) && !d->has_groups) {
		strbuf_addf(&s,
			    "port %.*s cannot take multicast frames: IPv6 neighbours find us "
			    "only while they know us",
			    SPAN_FMT(name));
		warn(b, text);
	}
	strbuf_reset(&s);
	if (!d->link_is_up) {
		strbuf_addf(&s, "port %.*s has no link", SPAN_FMT(name));
		warn(b, text);
	}
}

static bool
ports_up(struct boot *b, struct strbuf *why)
{
	const struct policy_view *v = &b->first->view;
	uint32_t node[POLICY_CORES_MAX];
	bool is_remote = false;

	for (uint32_t w = 0; w < b->worker_count; w++) {
		node[w] = (uint32_t)MAX(b->worker[w].node, 0);
		is_remote = is_remote || node[w] != 0;
	}
	if (is_remote && v->settings->machine_hugepages == 0)
		warn(b, "without hugepages all packet buffers are on one NUMA node, some cores on "
			"another");
	if (!ifaces_find(&b->ifaces, v, why))
		return false;
	for (uint32_t i = 0; i < b->ifaces.port_count; i++) {
		struct port_dpdk_args a = {
			.id = b->ifaces.id[i],
			.workers = b->worker_count,
			.node = node,
			.frames = v->settings->machine_frames / b->ifaces.port_count,
			.has_groups = ifaces_port_has_v6(&b->ifaces, i),
			.rss_key = b->key,
		};
		if (!port_dpdk_open(&b->dev[i], &a, why))
			return false;
		ports_warn(b, i);
		head_beat(b);
	}
	if (b->worker_count == 1)
		return true;
	b->steer = steer_open(b->worker_count, b->key, &mem_heap);
	if (b->steer == NULL)
		strbuf_add_str(why, "no memory for the rings between workers");
	return b->steer != NULL;
}

static void
ports_down(struct boot *b)
{
	steer_close(&b->steer);
	for (uint32_t i = 0; i < b->ifaces.port_count; i++)
		port_dpdk_close(&b->dev[i]);
}

// --- the worker's core ---

static uint64_t
worker_clock(const struct boot *b)
{
	uint64_t tsc = rte_rdtsc() - b->tsc_start;

	return b->mono_start_us + (uint64_t)((unsigned __int128)tsc * b->us_per_tsc >> 64);
}

static bool
worker_port_is_mine(void *ctx, const struct tcp_path *path)
{
	const struct boot_worker *w = ctx;

	CHECK(w->boot->steer != NULL);
	return steer_path_is(w->boot->steer, w->index, path);
}

// No system call while there is work; the wall clock comes from the vDSO.
static void
worker_loop(struct boot_worker *w)
{
	const struct boot *b = w->boot;
	uint64_t now = worker_clock(b), wall = clock_us(CLOCK_REALTIME), wall_at = now;
	uint32_t idle = 0;

	CHECK(w->worker != NULL);
	while (__atomic_load_n(&b->is_stopping, __ATOMIC_RELAXED) == 0) {
		// A virtual machine that moves may see its TSC go back: our time never does.
		now = MAX(now, worker_clock(b));
		if (now - wall_at >= WALL_STEP_US) {
			wall = clock_us(CLOCK_REALTIME);
			wall_at = now;
		}
		uint32_t work = steer_rx_handed(b->steer, w->index, w->worker);
		work += worker_poll(w->worker, now, wall + (now - wall_at));
		idle = work > 0 ? 0 : idle + 1;
		if (idle == 0)
			continue;
		if (b->is_yielding && idle >= IDLE_LOOPS)
			sleep_us(IDLE_SLEEP_US);
		else
			rte_pause();
	}
}

static int
worker_main(void *arg)
{
	struct boot_worker *w = arg;
	struct strbuf why;

	this_worker = w->index;
	strbuf_init(&why, w->why, sizeof(w->why));
	// The default slack of 50 us would double the sleep of an idle worker.
	prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
	w->worker = worker_open(&w->args, worker_clock(w->boot), &why);
	if (w->worker == NULL) {
		__atomic_store_n(&w->life, WORKER_FAILED, __ATOMIC_RELEASE);
		return 0;
	}
	__atomic_store_n(&w->life, WORKER_OPEN, __ATOMIC_RELEASE);
	worker_loop(w);
	worker_close(&w->worker);
	return 0;
}

// --- stage: workers ---

static bool
worker_prepare(struct boot *b, struct boot_worker *w, struct strbuf *why)
{
	struct mem_source *mem = &w->memory.source;
	struct worker_args *a = &w->args;

	CHECK(w->index < REGION_WORKERS_MAX);
	CHECK(!w->is_launched);
	w->counters = region_counters(&b->region, w->index);
	if (w->counters == NULL || !region_events(&b->region, w->index, &w->events) ||
	    !region_commands(&b->region, w->index, &w->commands)) {
		strbuf_addf(why, "the region's part of worker %u is damaged", w->index);
		return false;
	}
	w->port = mem_get(mem, b->ifaces.port_count * sizeof(*w->port), "ports");
	if (w->port == NULL || getrandom(a->secret, sizeof(a->secret), 0) != sizeof(a->secret) ||
	    getrandom(&a->seed, sizeof(a->seed), 0) != sizeof(a->seed)) {
		strbuf_add_str(why, "no memory or no random bytes");
		return false;
	}
	for (uint32_t i = 0; i < b->ifaces.port_count; i++)
		port_dpdk_init(&w->port[i], &b->dev[i], w->index, b->ifaces.first[i], w->counters,
			       b->steer);
	for (uint32_t i = 0; i < b->ifaces.count; i++)
		ifaces_row(&b->ifaces, i, &w->port[b->ifaces.port[i]].port, &a->ifaces[i]);
	a->index = w->index;
	a->cpu = w->cpu;
	a->node = (uint32_t)MAX(w->node, 0);
	a->iface_count = b->ifaces.count;
	a->policy = b->first;
	a->counters = w->counters;
	a->events = &w->events;
	a->commands = &w->commands;
	a->state = &b->region.head->worker[w->index];
	a->mem = mem;
	a->port_is_mine = b->steer != NULL ? worker_port_is_mine : NULL;
	a->port_ctx = w;
	return true;
}

static void
workers_stop(struct boot *b)
{
	struct steer_item item;

	__atomic_store_n(&b->is_stopping, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < b->worker_count; i++)
		if (b->worker[i].is_launched)
			rte_eal_wait_lcore(1 + i);
	for (uint32_t i = 0; i < b->worker_count && b->steer != NULL; i++)
		while (steer_recv(b->steer, i, &item, 1) > 0)
			port_dpdk_frame_free(&item.frame);
	for (uint32_t i = 0; i < b->worker_count; i++) {
		struct boot_worker *w = &b->worker[i];
		for (uint32_t k = 0; w->is_launched && k < b->ifaces.port_count; k++)
			port_dpdk_fini(&w->port[k]);
		mem_put(&w->memory.source, w->port, b->ifaces.port_count * sizeof(*w->port));
		w->port = NULL;
	}
}

static bool
workers_up(struct boot *b, struct strbuf *why)
{
	for (uint32_t i = 0; i < b->worker_count; i++) {
		struct boot_worker *w = &b->worker[i];
		if (!worker_prepare(b, w, why))
			return false;
	}
	for (uint32_t i = 0; i < b->worker_count; i++) {
		struct boot_worker *w = &b->worker[i];
		int rc = rte_eal_remote_launch(worker_main, w, 1 + i);
		w->is_launched = rc == 0;
		if (rc != 0) {
			strbuf_addf(why, "worker %u: cannot be launched: %s", i, strerror(-rc));
			return false;
		}
	}
	for (uint32_t i = 0; i < b->worker_count; i++) {
		struct boot_worker *w = &b->worker[i];
		uint32_t life;
		while ((life = __atomic_load_n(&w->life, __ATOMIC_ACQUIRE)) == WORKER_OPENING) {
			head_beat(b);
			sleep_us(1000);
		}
		if (life == WORKER_FAILED) {
			strbuf_addf(why, "worker %u: %s", i, w->why);
			return false;
		}
		policy_feed_add(&b->feed, w->worker);
	}
	return true;
}

// --- the whole ---

// Memory is the workers' from the start, but its pages come from the kernel as they are used: what
// is missing would be missed under load.
static uint64_t
memory_wanted_mib(struct boot *b)
{
	char text[200];
	struct strbuf s;
	uint64_t bytes = 0, free_mib = eal_memory_available_mib();

	for (uint32_t i = 0; i < b->worker_count; i++)
		bytes += b->worker[i].memory.bytes;
	if (free_mib > 0 && bytes >> 20 > free_mib) {
		strbuf_init(&s, text, sizeof(text));
		strbuf_addf(&s,
			    "the workers may come to use %llu MiB, but %llu MiB are free: lower "
			    "machine.sessions_max, chunks or scans_max",
			    (unsigned long long)(bytes >> 20), (unsigned long long)free_mib);
		warn(b, text);
	}
	return bytes >> 20;
}

static void
run(struct boot *b)
{
	char text[160];
	uint64_t mib = memory_wanted_mib(b);
	struct strbuf s;

	CHECK(b->region.head != NULL);
	CHECK(b->feed.worker_count == b->worker_count);
	head_text(b->region.head->warnings, sizeof(b->region.head->warnings), b->warnings_text);
	head_state(b, REGION_RUNNING);
	strbuf_init(&s, text, sizeof(text));
	strbuf_addf(&s, "running: %u worker%s, %u port%s, up to %llu MiB, policy %lu",
		    b->worker_count, b->worker_count == 1 ? "" : "s", b->ifaces.port_count,
		    b->ifaces.port_count == 1 ? "" : "s", (unsigned long long)mib,
		    (unsigned long)b->first->generation);
	say("", text);
	for (uint32_t beat = 0; stop_signal == 0; beat++) {
		sleep_us(BEAT_MS * 1000);
		head_beat(b);
		policy_step(b);
		for (uint32_t i = 0; beat % LINK_BEATS == 0 && i < b->ifaces.port_count; i++)
			port_dpdk_link(&b->dev[i]);
	}
	say("", "stopping");
}

static const struct stage stages[] = {
	{"lock", "a run directory that we may write, and no other dataplane in it", lock_up,
	 lock_down},
	{"pid file", "a run directory that we may write", pid_up, pid_down},
	{"policy", "posternd of the same version", policy_up, policy_down},
	{"DPDK", "the CPUs, memory and devices that the configuration names", dpdk_up, dpdk_down},
	{"ports", "devices bound to DPDK, with a queue pair for every core", ports_up, ports_down},
	{"workers", "memory for machine.chunks, sessions_max and scans_max", workers_up,
	 workers_stop},
};

static void
stage_failed(struct boot *b, const struct stage *st, const char *why)
{
	char text[1024];
	struct strbuf s;

	strbuf_init(&s, text, sizeof(text));
	strbuf_addf(&s, "stage %s: %s (it needs: %s)", st->name, why, st->needs);
	say("", text);
	if (b->region.head == NULL)
		return;
	head_text(b->region.head->why, sizeof(b->region.head->why), text);
	head_state(b, REGION_FAILED);
}

static int
stages_run(struct boot *b)
{
	char text[768];
	struct strbuf why;
	uint32_t done = 0;
	bool has_failed = false;

	strbuf_init(&why, text, sizeof(text));
	while (done < ARRAY_LEN(stages) && stop_signal == 0 && !has_failed) {
		has_failed = !stages[done].up(b, &why) && stop_signal == 0;
		if (has_failed)
			stage_failed(b, &stages[done], text);
		done++;
	}
	if (done == ARRAY_LEN(stages) && !has_failed && stop_signal == 0)
		run(b);
	for (uint32_t i = done; i > 0; i--) {
		// The region goes with its stage; until then it says what became of us.
		if (stages[i - 1].down == policy_down && !has_failed)
			head_state(b, REGION_DOWN);
		if (stages[i - 1].down != NULL)
			stages[i - 1].down(b);
	}
	return has_failed ? 1 : 0;
}

static void
usage(FILE *to)
{
	fprintf(to, "usage: postern-dataplane [--run-dir DIR]\n"
		    "  --run-dir DIR  where posternd's region is (default /run/postern)\n"
		    "  --version      version and exit\n"
		    "  --help         this text\n");
}

// -1: go on; else the exit status.
static int
arguments(struct boot *b, int argc, char **argv)
{
	head_text(b->run_dir, sizeof(b->run_dir), "/run/postern");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			usage(stdout);
			return 0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("postern-dataplane, region %u, policy %u, %s\n", REGION_VERSION,
			       POLICY_VERSION, rte_version());
			return 0;
		}
		if (strcmp(argv[i], "--run-dir") != 0 || i + 1 == argc || argv[i + 1][0] == 0 ||
		    strlen(argv[i + 1]) >= PATH_SIZE - 32) {
			fprintf(stderr, "postern-dataplane: %s: unknown, or its value is missing\n",
				argv[i]);
			usage(stderr);
			return 2;
		}
		head_text(b->run_dir, sizeof(b->run_dir), argv[++i]);
	}
	return -1;
}

int
boot_run(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_signal};
	struct boot *b = calloc(1, sizeof(*b));

	if (b == NULL) {
		say("", "no memory");
		return 1;
	}
	b->lock_fd = -1;
	policy_feed_init(&b->feed, &b->region);
	strbuf_init(&b->warnings, b->warnings_text, sizeof(b->warnings_text));
	check_hook = on_check;
	int rc = arguments(b, argc, argv);
	if (rc < 0) {
		sigaction(SIGTERM, &act, NULL);
		sigaction(SIGINT, &act, NULL);
		act.sa_handler = SIG_IGN;
		sigaction(SIGPIPE, &act, NULL);
		rc = stages_run(b);
	}
	free(b);
	return rc;
}
