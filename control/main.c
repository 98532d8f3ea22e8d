// SPDX-License-Identifier: Apache-2.0
// main: posternd. Arguments, start, loop, end.
//
// One process, one thread, one poll(): each turn empties the workers' event rings into the message
// log, serves the CLI's socket, carries waiting calls and a pending policy on, and beats. Order of
// the start: directories and their locks (only one posternd may use them), message log,
// configuration, region, policy, socket. A configuration with errors: with a policy in the region
// from an earlier life, that one stays in force and the errors are told; without one posternd ends
// with 1. It never forks: systemd keeps it.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/api.h"
#include "control/conflicts.h"
#include "control/dir_lock.h"
#include "control/oplog.h"
#include "control/policy_compile.h"
#include "control/pressure.h"
#include "control/version.h"

#define PATH_ROOM 200     // longest directory: names below it fit everywhere
#define TURN_BUSY_MS 10   // until the next turn when rings had something
#define TURN_IDLE_MS 20   // when they had nothing
#define TURN_WAITING_MS 2 // when a client waits for the workers
#define WARN_EVERY_MS 60000
#define LAST_TURNS 128 // of the rings at the end

struct posternd {
	// arguments
	const char *config_file, *run_dir, *state_dir, *log_file;
	bool check_only;
	// resources, in the order in which they are opened
	char log_path[PATH_ROOM + 64];
	struct dir_lock lock;
	int signal_fd;
	struct plane plane;
	struct log_writer *log;
	struct region region;
	struct runtime *runtime;
	struct events events;
	struct api api;
	struct server *server;
	// loop
	uint64_t lost_told, warned_ms;
	uint64_t lost_rings_told, invalid_told;
	bool is_warned, plane_was_alive, stop;
	struct pressure pressure;
	struct conflicts conflicts;
};

static uint64_t
clock_us(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

// --- arguments ---

static void
print_help(FILE *out)
{
	fputs("usage: posternd [OPTION]...\n"
	      "The control plane of Postern: configuration, message log, and the socket of "
	      "`postern`.\n\n"
	      "  --config FILE     the configuration (/etc/postern/postern.yaml)\n"
	      "  --run-dir DIR     locks, socket, shared memory (/run/postern)\n"
	      "  --state-dir DIR   what must survive: lists and agents set with `postern` "
	      "(/var/lib/postern)\n"
	      "  --log FILE        the message log (STATE_DIR/message.log); reopened on SIGHUP\n"
	      "  --foreground      no effect: posternd always stays in the foreground\n"
	      "  --check           checks the configuration, says what is wrong, and ends\n"
	      "  --help, --version\n\n"
	      "Exit status: 0 ended by a signal or check passed, 1 refused with reasons, 2 wrong "
	      "usage.\n",
	      out);
}

static bool
path_is_sound(const char *name, const char *path)
{
	if (path[0] != '\0' && strlen(path) <= PATH_ROOM)
		return true;
	fprintf(stderr, "posternd: %s: a path of 1 to %d characters is wanted\n", name, PATH_ROOM);
	return false;
}

// -1: go on; else the exit status.
static int
arguments_read(struct posternd *p, int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"run-dir", required_argument, NULL, 'r'},
		{"state-dir", required_argument, NULL, 's'},
		{"log", required_argument, NULL, 'l'},
		{"foreground", no_argument, NULL, 'f'},
		{"check", no_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			p->config_file = optarg;
			break;
		case 'r':
			p->run_dir = optarg;
			break;
		case 's':
			p->state_dir = optarg;
			break;
		case 'l':
			p->log_file = optarg;
			break;
		case 'f':
			break;
		case 'k':
			p->check_only = true;
			break;
		case 'h':
			print_help(stdout);
			return 0;
		case 'v':
			puts("posternd " POSTERN_VERSION);
			return 0;
		default:
			fputs("posternd: see posternd --help\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "posternd: %s: what is this? see posternd --help\n", argv[optind]);
		return 2;
	}
	if (!path_is_sound("--config", p->config_file) || !path_is_sound("--run-dir", p->run_dir) ||
	    !path_is_sound("--state-dir", p->state_dir) ||
	    (p->log_file != NULL && !path_is_sound("--log", p->log_file)))
		return 2;
	int n = p->log_file != NULL ? snprintf(p->log_path, sizeof(p->log_path), "%s", p->log_file)
				    : snprintf(p->log_path, sizeof(p->log_path), "%s/message.log",
					       p->state_dir);
	CHECK(n > 0 && (size_t)n < sizeof(p->log_path));
	return -1;
}

// --- start ---

static void
diags_log(const struct diag_list *d)
{
	char text[DIAG_TEXT_SIZE + 320];
	struct strbuf b;

	for (uint32_t i = 0; i < d->count; i++) {
		strbuf_init(&b, text, sizeof(text));
		diag_format(d, i, &b);
		// The row says itself whether it is an error.
		oplog(OPLOG_INFO, "%s", text);
	}
	if (d->dropped > 0)
		oplog(OPLOG_WARNING, "and %u more", d->dropped);
}

static uint32_t
cpus_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	return n > 0 ? (uint32_t)n : 0;
}

// --check: nothing is locked, written or published. The rows go out as they are, for editors and
// scripts.
static int
config_check(const struct posternd *p)
{
	struct policy_compiler *compiler = policy_compiler_open();
	char text[DIAG_TEXT_SIZE + 320];
	struct diag_list d;
	struct strbuf b;
	size_t size;
	void *image = NULL;
	uint64_t now_s = (uint64_t)time(NULL);

	diag_init(&d, p->config_file);
	struct config *config = config_load(p->config_file, now_s, &d);
	if (config != NULL)
		config_check_cores(config, cpus_count(), &d);
	if (config != NULL && compiler != NULL)
		image = policy_compile(compiler, config, NULL, 1, now_s, &d, &size);
	for (uint32_t i = 0; i < d.count; i++) {
		strbuf_init(&b, text, sizeof(text));
		diag_format(&d, i, &b);
		fprintf(stderr, "%s\n", text);
	}
	if (d.dropped > 0)
		fprintf(stderr, "and %u more\n", d.dropped);
	int status = image != NULL && !diag_has_error(&d) ? 0 : 1;
	if (status == 0)
		printf("%s is valid\n", p->config_file);
	free(image);
	config_close(&config);
	policy_compiler_close(&compiler);
	diag_fini(&d);
	return status;
}

static bool
directory_make(const char *path)
{
	struct stat st;

	if (mkdir(path, 0750) == 0)
		return true;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return true;
	oplog(OPLOG_ERROR, "%s: %s", path, strerror(errno));
	return false;
}

static void
path_in(char *out, size_t size, const char *dir, const char *name)
{
	int n = snprintf(out, size, "%s/%s", dir, name);

	CHECK(n > 0 && (size_t)n < size);
}

static bool
dirs_lock(struct posternd *p)
{
	char path[PATH_ROOM + 64], text[32], reason[512];
	struct strbuf why;

	if (!directory_make(p->run_dir) || !directory_make(p->state_dir))
		return false;
	strbuf_init(&why, reason, sizeof(reason));
	if (!dir_lock_take(&p->lock, p->run_dir, p->state_dir, &why)) {
		oplog(OPLOG_ERROR, "%s", reason);
		return false;
	}
	path_in(path, sizeof(path), p->run_dir, "posternd.pid");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (fd < 0 || write(fd, text, (size_t)n) != n) {
		oplog(OPLOG_ERROR, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	close(fd);
	return true;
}

static bool
region_start(struct posternd *p)
{
	char path[PATH_ROOM + 64], reason[512];
	struct strbuf why;

	plane_init(&p->plane, p->run_dir);
	p->plane_was_alive = plane_check(&p->plane, clock_us() / 1000);
	path_in(path, sizeof(path), p->run_dir, "region");
	strbuf_init(&why, reason, sizeof(reason));
	int rc = region_create(&p->region, path, p->plane.is_alive, &why);
	if (rc != 0) {
		oplog(OPLOG_ERROR, "%s: %s", path, why.len > 0 ? reason : strerror(-rc));
		return false;
	}
	if (why.len > 0)
		oplog(OPLOG_WARNING, "%s: %s", path, reason);
	plane_attach(&p->plane, &p->region);
	struct region_head *h = p->region.head;
	__atomic_store_n(&h->control_epoch, h->control_epoch + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&h->control_beat_us, clock_us(), __ATOMIC_RELAXED);
	__atomic_store_n(&h->control_pid, (uint64_t)getpid(), __ATOMIC_RELEASE);
	return true;
}

static bool
policy_start(struct posternd *p)
{
	struct runtime_paths paths = {
		.config_file = p->config_file, .state_dir = p->state_dir, .cpus = cpus_count()};
	struct diag_list d;

	diag_init(&d, p->config_file);
	p->runtime = runtime_open(&paths, &d);
	diags_log(&d);
	diag_reset(&d);
	if (p->runtime == NULL) {
		oplog(OPLOG_ERROR, "out of memory");
		diag_fini(&d);
		return false;
	}
	uint64_t published = __atomic_load_n(&p->region.head->generation, __ATOMIC_ACQUIRE);
	bool has_policy = runtime_has_policy(p->runtime);
	if (has_policy) {
		runtime_attach(p->runtime, &p->region, &d);
		diags_log(&d);
		has_policy = runtime_has_policy(p->runtime);
	} else if (published > 0) {
		oplog(OPLOG_ERROR,
		      "%s HAS ERRORS (above). The policy published before, generation %llu, stays "
		      "in "
		      "force. Mend the file, then: postern policy apply",
		      p->config_file, (unsigned long long)published);
		runtime_attach(p->runtime, &p->region, &d);
		diags_log(&d);
	}
	diag_fini(&d);
	if (!has_policy && published == 0) {
		oplog(OPLOG_ERROR, "%s has errors, and there is no policy from before",
		      p->config_file);
		return false;
	}
	return true;
}

static bool
socket_start(struct posternd *p)
{
	char path[PATH_ROOM + 64], reason[256];
	struct strbuf why;

	p->api = (struct api){.runtime = p->runtime,
			      .region = &p->region,
			      .events = &p->events,
			      .log = p->log,
			      .plane = &p->plane,
			      .run_dir = p->run_dir,
			      .state_dir = p->state_dir,
			      .started_ms = clock_us() / 1000,
			      .now_ms = clock_us() / 1000,
			      .request_last = clock_us()}; // above all of an earlier life
	path_in(path, sizeof(path), p->run_dir, "control.sock");
	strbuf_init(&why, reason, sizeof(reason));
	p->server = server_open(path, api_line, &p->api, &why);
	if (p->server == NULL)
		oplog(OPLOG_ERROR, "%s", reason);
	p->api.server = p->server;
	return p->server != NULL;
}

static bool
signals_start(struct posternd *p)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return false;
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return p->signal_fd >= 0;
}

static bool
log_start(struct posternd *p)
{
	char reason[512];
	struct strbuf why;

	strbuf_init(&why, reason, sizeof(reason));
	p->log = log_writer_open(p->log_path, &why);
	if (p->log == NULL)
		oplog(OPLOG_ERROR, "message log: %s", reason);
	return p->log != NULL;
}

// --- loop ---

static void
signals_take(struct posternd *p)
{
	struct signalfd_siginfo info;
	char reason[512];
	struct strbuf why;

	while (read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGHUP) {
			oplog(OPLOG_INFO, "ended by signal %u", info.ssi_signo);
			p->stop = true;
			continue;
		}
		strbuf_init(&why, reason, sizeof(reason));
		if (log_writer_reopen(p->log, &why))
			oplog(OPLOG_INFO, "message log %s opened anew", log_writer_path(p->log));
		else
			oplog(OPLOG_ERROR, "message log not opened anew: %s", reason);
	}
}

// At most once a minute: what has been lost since the last word on it, and why.
static void
losses_tell(struct posternd *p, int write_error, uint64_t now_ms)
{
	struct log_stats s = log_writer_stats(p->log);
	uint64_t rings = events_lost(&p->events);
	bool news = s.lost > p->lost_told || write_error != 0 || rings > p->lost_rings_told ||
		    p->events.invalid > p->invalid_told;

	if (!news || (p->is_warned && now_ms - p->warned_ms < WARN_EVERY_MS))
		return;
	if (write_error != 0)
		oplog(OPLOG_ERROR, "message log: %s; %u bytes wait, then lines are lost",
		      strerror(-write_error), s.waiting_bytes);
	if (s.lost > p->lost_told)
		oplog(OPLOG_ERROR, "message log: %llu lines lost",
		      (unsigned long long)(s.lost - p->lost_told));
	if (rings > p->lost_rings_told)
		oplog(OPLOG_WARNING, "%llu log records lost: the event rings were full",
		      (unsigned long long)(rings - p->lost_rings_told));
	if (p->events.invalid > p->invalid_told)
		oplog(OPLOG_WARNING, "%llu records of the dataplane made no sense",
		      (unsigned long long)(p->events.invalid - p->invalid_told));
	p->lost_told = s.lost;
	p->lost_rings_told = rings;
	p->invalid_told = p->events.invalid;
	p->warned_ms = now_ms;
	p->is_warned = true;
}

static void
changes_tell(struct posternd *p, uint64_t now_ms)
{
	bool alive = plane_poll(&p->plane, now_ms);

	if (alive != p->plane_was_alive)
		oplog(alive ? OPLOG_INFO : OPLOG_WARNING, "the dataplane has %s",
		      alive ? "started" : "ended");
	p->plane_was_alive = alive;
	uint32_t workers = plane_workers(&p->plane, &p->region);
	pressure_poll(&p->pressure, &p->region, workers, now_ms);
	conflicts_poll(&p->conflicts, &p->region, workers, now_ms);
	if (!runtime_poll(p->runtime))
		return;
	unsigned long long generation = (unsigned long long)runtime_generation(p->runtime);
	enum publish_state state = runtime_publish_state(p->runtime);
	if (state == PUBLISH_REFUSED)
		oplog(OPLOG_ERROR, "policy generation %llu refused by the dataplane: %s",
		      generation, runtime_publish_why(p->runtime));
	else
		oplog(OPLOG_INFO, "policy generation %llu: %s", generation,
		      publish_state_name(state));
}

static void
loop_run(struct posternd *p)
{
	struct pollfd fds[SERVER_POLL_FDS + 1];
	uint32_t taken = 0, waiting = 0;

	while (!p->stop) {
		int timeout_ms = taken > 0 ? TURN_BUSY_MS : TURN_IDLE_MS;
		if (waiting > 0)
			timeout_ms = TURN_WAITING_MS;
		if (taken >= EVENTS_A_WORKER_MAX)
			timeout_ms = 0; // a ring may have more
		fds[0] = (struct pollfd){.fd = p->signal_fd, .events = POLLIN};
		uint32_t n = server_poll_fds(p->server, fds + 1);
		if (poll(fds, n + 1, timeout_ms) < 0 && errno != EINTR)
			oplog(OPLOG_ERROR, "poll: %s", strerror(errno));
		uint64_t now_us = clock_us(), now_ms = now_us / 1000;
		__atomic_store_n(&p->region.head->control_beat_us, now_us, __ATOMIC_RELAXED);
		p->api.now_ms = now_ms;
		signals_take(p);
		taken = events_drain(&p->events);
		int write_error = log_writer_flush(p->log);
		changes_tell(p, now_ms);
		server_run(p->server, fds + 1, n, now_ms);
		waiting = api_poll(&p->api, now_ms);
		losses_tell(p, write_error, now_ms);
	}
}

static void
posternd_fini(struct posternd *p)
{
	char path[PATH_ROOM + 64];

	api_fini(&p->api);
	server_close(&p->server);
	runtime_close(&p->runtime);
	log_writer_close(&p->log);
	if (p->region.base != NULL) {
		__atomic_store_n(&p->region.head->control_pid, 0, __ATOMIC_RELEASE);
		region_detach(&p->region);
	}
	// The lock is released last, and only its holder may remove the pid file.
	path_in(path, sizeof(path), p->run_dir, "posternd.pid");
	(void)unlink(path);
	close(p->signal_fd);
	dir_lock_drop(&p->lock);
}

int
main(int argc, char **argv)
{
	struct posternd posternd = {
		.config_file = "/etc/postern/postern.yaml",
		.run_dir = "/run/postern",
		.state_dir = "/var/lib/postern",
		.lock = DIR_LOCK_NONE,
		.signal_fd = -1,
	};
	struct posternd *p = &posternd;

	int status = arguments_read(p, argc, argv);
	if (status >= 0)
		return status;
	if (p->check_only)
		return config_check(p);
	if (!signals_start(p) || !dirs_lock(p))
		return 1; // nothing is ours yet that would need an end
	bool ok = log_start(p) && region_start(p) && policy_start(p);
	if (ok) {
		events_init(&p->events, &p->region, p->log, api_session_record, &p->api);
		p->lost_rings_told = events_lost(&p->events); // of earlier lives
		ok = socket_start(p);
	}
	if (ok) {
		oplog(OPLOG_INFO, "posternd %s runs: %s, run directory %s, message log %s",
		      POSTERN_VERSION, p->config_file, p->run_dir, p->log_path);
		loop_run(p);
		// What is still in the rings is for the log; a dataplane that goes on fills them
		// again.
		for (uint32_t i = 0; i < LAST_TURNS && events_drain(&p->events) > 0; i++)
			(void)log_writer_flush(p->log);
	}
	posternd_fini(p);
	return ok ? 0 : 1;
}
