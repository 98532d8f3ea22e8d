// SPDX-License-Identifier: Apache-2.0
// steady: honest clients: SMTP sessions that stay open and say NOOP now and then, and measure the
// answer.
//
//   steady SERVER_IP PORT SESSIONS SECONDS [NEW]     NEW: short sessions a second besides; 0
//
// Every session says NOOP once a second, spread evenly. A session fails when it is closed or reset,
// when an answer is not 250, or when none comes for 30 s. Prints one line, each name with a number:
//   sessions failed commands median_us p99_us worst_us new new_failed new_median_us
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SESSIONS_MAX 8192
#define TIMES_MAX 4000000
#define PATIENCE_US 30000000ull
#define STEP_US 1000000ull

enum step { CONNECTING, BANNER, EHLO, READY, ASKED, QUITTING, FREE };

struct session {
	int fd;
	enum step step;
	bool is_short;
	uint64_t asked_us, next_us;
	char text[512];
	uint32_t have;
};

static struct session session[SESSIONS_MAX];
static uint32_t count, failed, opened, opened_failed;
static uint32_t times_count, new_times_count;
static uint32_t times[TIMES_MAX], new_times[TIMES_MAX];
static struct sockaddr_in to;
static int ep;

static uint64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
fail(struct session *s, const char *why)
{
	static uint32_t said;

	if (said++ < 5)
		(void)fprintf(stderr, "session %ld: %s in step %d\n", (long)(s - session), why,
			      (int)s->step);
	if (s->is_short)
		opened_failed++;
	else
		failed++;
	(void)close(s->fd);
	s->step = FREE;
}

static bool
begin(struct session *s, bool is_short)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s};
	int one = 1;

	*s = (struct session){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
			      .is_short = is_short};
	if (s->fd < 0)
		return false;
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->asked_us = now_us();
	if ((connect(s->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &ev) != 0)
		return false;
	return true;
}

static void
say(struct session *s, const char *text, enum step next)
{
	size_t n = strlen(text);

	s->asked_us = now_us();
	s->step = next;
	if (write(s->fd, text, n) != (ssize_t)n)
		fail(s, "cannot write");
}

static void
line(struct session *s, const char *text)
{
	uint64_t now = now_us(), took = now - s->asked_us;

	switch (s->step) {
	case CONNECTING:
	case BANNER:
		if (strncmp(text, "220 ", 4) != 0) {
			fail(s, text);
			return;
		}
		if (s->is_short) {
			if (new_times_count < TIMES_MAX)
				new_times[new_times_count++] = (uint32_t)took;
			say(s, "QUIT\r\n", QUITTING);
			return;
		}
		say(s, "EHLO honest.example.com\r\n", EHLO);
		return;
	case EHLO:
		if (strncmp(text, "250 ", 4) == 0) {
			s->step = READY;
			s->next_us = now + (uint64_t)(s - session) * STEP_US / (count + 1);
		}
		return;
	case ASKED:
		if (strncmp(text, "250 ", 4) != 0) {
			fail(s, text);
			return;
		}
		if (times_count < TIMES_MAX)
			times[times_count++] = (uint32_t)took;
		s->step = READY;
		return;
	case QUITTING:
		(void)close(s->fd);
		s->step = FREE;
		return;
	case READY:
		fail(s, text);
		return;
	case FREE:
		return;
	}
}

static void
input(struct session *s)
{
	while (s->step != FREE) {
		ssize_t n = read(s->fd, s->text + s->have, sizeof(s->text) - 1 - s->have);

		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return;
		if (n <= 0) {
			fail(s, n == 0 ? "closed" : strerror(errno));
			return;
		}
		s->have += (uint32_t)n;
		s->text[s->have] = 0;
		char *at = s->text, *end;
		while (s->step != FREE && (end = strstr(at, "\r\n")) != NULL) {
			*end = 0;
			line(s, at);
			at = end + 2;
		}
		s->have -= (uint32_t)(at - s->text);
		memmove(s->text, at, s->have);
	}
}

static void
poll_once(int wait_ms)
{
	struct epoll_event ev[256];
	int n = epoll_wait(ep, ev, 256, wait_ms);

	for (int i = 0; i < n; i++)
		input(ev[i].data.ptr);
}

static void
tick(void)
{
	uint64_t now = now_us(); // behind every asked_us

	for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &session[i];

		if (s->step == READY && s->next_us <= now) {
			s->next_us += STEP_US;
			say(s, "NOOP\r\n", ASKED);
		} else if (s->step != FREE && s->step != READY && now - s->asked_us > PATIENCE_US) {
			fail(s, "no answer");
		}
	}
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t
at(uint32_t *v, uint32_t n, double part)
{
	return n == 0 ? 0 : v[(uint32_t)((double)(n - 1) * part)];
}

// Until every session has been greeted, or has failed.
static void
open_all(void)
{
	uint64_t start = now_us();

	for (uint32_t ready = 0; ready + failed < count && now_us() - start < PATIENCE_US;) {
		poll_once(5);
		ready = 0;
		for (uint32_t i = 0; i < count; i++)
			ready += session[i].step == READY || session[i].step == ASKED;
	}
}

// What is still being asked gets its time to be answered.
static void
end_all(void)
{
	for (uint64_t now = now_us(), over = now + PATIENCE_US; now < over; now = now_us()) {
		uint32_t busy = 0;

		poll_once(5);
		for (uint32_t i = 0; i < SESSIONS_MAX; i++)
			busy += session[i].step != FREE && session[i].step != READY;
		if (busy == 0)
			break;
	}
	for (uint32_t i = 0; i < SESSIONS_MAX; i++)
		if (session[i].step != FREE && session[i].step != READY)
			fail(&session[i], "no answer");
}

int
main(int argc, char **argv)
{
	const struct rlimit files = {65536, 65536};

	if (argc < 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		(void)fprintf(stderr, "usage: steady SERVER_IP PORT SESSIONS SECONDS [NEW]\n");
		return 2;
	}
	to.sin_family = AF_INET;
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	count = (uint32_t)strtoul(argv[3], NULL, 10);
	uint64_t run_us = (uint64_t)(strtod(argv[4], NULL) * 1e6);
	uint32_t rate = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0, slot;
	if (count > SESSIONS_MAX / 2)
		return 2;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	ep = epoll_create1(0);
	for (uint32_t i = 0; i < SESSIONS_MAX; i++)
		session[i].step = FREE;
	for (uint32_t i = 0; i < count; i++) {
		if (!begin(&session[i], false))
			return 1;
		poll_once(0);
	}
	open_all();
	printf("ready\n");
	(void)fflush(stdout);
	uint64_t start = now_us(), last = 0;
	for (uint32_t i = 0; i < count; i++)
		session[i].next_us = start + i * STEP_US / count;
	times_count = 0;
	slot = count;
	for (uint64_t now = start; now - start < run_us; now = now_us()) {
		poll_once(1);
		if (now - last >= 1000) {
			tick();
			last = now;
		}
		while (rate > 0 && opened < (now - start) * rate / 1000000) {
			for (uint32_t k = 0; k < SESSIONS_MAX && session[slot].step != FREE; k++)
				slot = slot + 1 < SESSIONS_MAX ? slot + 1 : count;
			if (session[slot].step != FREE)
				break;
			opened++;
			if (!begin(&session[slot], true))
				opened_failed++;
		}
	}
	end_all();
	qsort(times, times_count, sizeof(times[0]), by_size);
	qsort(new_times, new_times_count, sizeof(new_times[0]), by_size);
	printf("sessions %u failed %u commands %u median_us %u p99_us %u worst_us %u new %u "
	       "new_failed %u new_median_us %u\n",
	       count, failed, times_count, at(times, times_count, 0.5),
	       at(times, times_count, 0.99), at(times, times_count, 1), opened, opened_failed,
	       at(new_times, new_times_count, 0.5));
	return failed > 0 || opened_failed > 0;
}
