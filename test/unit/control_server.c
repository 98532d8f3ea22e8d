// SPDX-License-Identifier: Apache-2.0
// Unit tests of the control socket's transport: framing, limits, clients that behave badly. Time is
// given by the test; the sockets are real.
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/server.h"

// What the handler saw, and how it is to answer.
struct bench {
	struct server *server;
	char dir[64], path[96];
	uint64_t now_ms;
	uint32_t lines;
	char last[SERVER_LINE_MAX + 1];
	bool keep; // do not answer: the token is kept
	struct server_token kept;
	const char *answer; // NULL: the line itself
	size_t answer_size;
};

static void
line_taken(void *ctx, struct server_token who, struct span line)
{
	struct bench *b = ctx;

	b->lines++;
	cr_assert(line.n < sizeof(b->last));
	memcpy(b->last, line.p, line.n);
	b->last[line.n] = '\0';
	b->kept = who;
	if (b->keep)
		return;
	struct span answer = b->answer != NULL ? span_of(b->answer, b->answer_size) : line;
	cr_assert(server_answer(b->server, who, answer));
}

static struct bench *
bench_open(void)
{
	struct bench *b = calloc(1, sizeof(*b));
	char reason[256];
	struct strbuf why;

	snprintf(b->dir, sizeof(b->dir), "/tmp/control_server.XXXXXX");
	cr_assert_not_null(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/control.sock", b->dir);
	strbuf_init(&why, reason, sizeof(reason));
	b->now_ms = 1000;
	b->server = server_open(b->path, line_taken, b, &why);
	cr_assert_not_null(b->server, "%s", reason);
	return b;
}

static void
bench_close(struct bench *b)
{
	server_close(&b->server);
	cr_assert_neq(access(b->path, F_OK), 0, "the socket is removed");
	rmdir(b->dir);
	free(b);
}

static void
turn(struct bench *b)
{
	struct pollfd fds[SERVER_POLL_FDS];
	uint32_t n = server_poll_fds(b->server, fds);

	cr_assert(poll(fds, n, 0) >= 0);
	server_run(b->server, fds, n, b->now_ms);
}

static void
turns(struct bench *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		turn(b);
}

static int
client_new(struct bench *b)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(a.sun_path, b->path, strlen(b->path) + 1);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	turn(b);
	return fd;
}

static void
say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

// What is there to read now; -1: nothing, 0: closed.
static ssize_t
hear(int fd, char *out, size_t size)
{
	ssize_t n = recv(fd, out, size - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	return n;
}

static void
assert_hears(int fd, const char *want)
{
	char got[1024];

	cr_assert(hear(fd, got, sizeof(got)) > 0, "nothing to read");
	cr_assert_str_eq(got, want);
}

Test(control_server, lines_however_cut)
{
	static const char text[] = "one\ntwo\nthree\n";
	struct bench *b = bench_open();

	for (size_t cut = 0; cut < sizeof(text); cut++) {
		int fd = client_new(b);
		char part[sizeof(text)], got[64];
		size_t len = 0;
		memcpy(part, text, cut);
		part[cut] = '\0';
		say(fd, part);
		turns(b, 4);
		say(fd, text + cut);
		turns(b, 8);
		for (ssize_t n; (n = hear(fd, got + len, sizeof(got) - len)) > 0;)
			len += (size_t)n;
		cr_assert_str_eq(got, text, "cut at %zu", cut);
		close(fd);
		turns(b, 2);
		cr_assert_eq(server_clients(b->server), 0);
	}
	bench_close(b);
}

Test(control_server, byte_by_byte)
{
	struct bench *b = bench_open();
	int fd = client_new(b);

	for (const char *c = "hello\n"; *c != '\0'; c++) {
		say(fd, (char[]){*c, '\0'});
		turn(b);
	}
	turn(b);
	cr_assert_eq(b->lines, 1);
	assert_hears(fd, "hello\n");
	close(fd);
	bench_close(b);
}

Test(control_server, any_bytes_in_a_line)
{
	struct bench *b = bench_open();
	int fd = client_new(b);
	char bytes[256], got[512];

	for (uint32_t i = 0; i < 256; i++)
		bytes[i] = (char)(i == '\n' ? 'x' : i);
	cr_assert_eq(send(fd, bytes, 256, 0), 256);
	say(fd, "\n");
	turns(b, 3);
	cr_assert_eq(hear(fd, got, sizeof(got)), 257);
	cr_assert(memcmp(got, bytes, 256) == 0);
	close(fd);
	bench_close(b);
}

Test(control_server, too_long_line)
{
	struct bench *b = bench_open();
	char *text = malloc(SERVER_LINE_MAX + 10), got[1024];

	memset(text, 'a', SERVER_LINE_MAX);
	// The longest that is allowed.
	int fd = client_new(b);
	text[SERVER_LINE_MAX - 1] = '\n';
	text[SERVER_LINE_MAX] = '\0';
	say(fd, text);
	turns(b, 8);
	cr_assert_eq(b->lines, 1);
	cr_assert_eq(strlen(b->last), SERVER_LINE_MAX - 1);
	close(fd);
	// One byte more.
	fd = client_new(b);
	memset(text, 'a', SERVER_LINE_MAX);
	say(fd, text);
	turns(b, 8);
	cr_assert_eq(b->lines, 1, "it is no line");
	cr_assert(hear(fd, got, sizeof(got)) > 0);
	cr_assert_not_null(strstr(got, "too long"));
	cr_assert(hear(fd, got, sizeof(got)) <= 0);
	cr_assert_eq(server_clients(b->server), 0, "and closed");
	close(fd);
	free(text);
	bench_close(b);
}

Test(control_server, half_requests_end)
{
	struct bench *b = bench_open();
	int silent = client_new(b), slow = client_new(b);
	char got[256];

	for (uint32_t i = 0; i < 10; i++) { // a byte every 600 ms does not wind the clock up
		if (server_clients(b->server) == 2)
			say(slow, "x");
		turn(b);
		b->now_ms += 600;
	}
	turns(b, 3);
	cr_assert_eq(server_clients(b->server), 0);
	cr_assert_eq(hear(silent, got, sizeof(got)), 0);
	cr_assert(hear(slow, got, sizeof(got)) > 0);
	cr_assert_not_null(strstr(got, "not finished"));
	cr_assert_eq(b->lines, 0);
	close(silent);
	close(slow);
	bench_close(b);
}

Test(control_server, late_answers_and_stale_tokens)
{
	struct bench *b = bench_open();
	int fd = client_new(b);

	b->keep = true;
	say(fd, "wait\nnext\n");
	turns(b, 3);
	cr_assert_eq(b->lines, 1, "one request at a time");
	b->now_ms += 3600000; // posternd may take as long as it needs
	turns(b, 3);
	cr_assert(server_is_waiting(b->server, b->kept));
	struct server_token first = b->kept;
	cr_assert(server_answer(b->server, first, SPAN_LIT("late")));
	cr_assert(!server_answer(b->server, first, SPAN_LIT("twice")));
	turns(b, 3);
	assert_hears(fd, "late\n");
	cr_assert_eq(b->lines, 2);
	struct server_token second = b->kept;
	close(fd);
	turns(b, 2);
	cr_assert_eq(server_clients(b->server), 0);
	cr_assert(!server_is_waiting(b->server, second));
	cr_assert(!server_answer(b->server, second, SPAN_LIT("nobody")));
	// The same slot with another client: the old token is not its token.
	fd = client_new(b);
	say(fd, "new\n");
	turn(b);
	cr_assert_eq(b->kept.slot, second.slot);
	cr_assert(!server_answer(b->server, second, SPAN_LIT("wrong")));
	cr_assert(server_answer(b->server, b->kept, SPAN_LIT("right")));
	turns(b, 2);
	assert_hears(fd, "right\n");
	close(fd);
	bench_close(b);
}

Test(control_server, half_closed_clients_get_their_answer)
{
	struct bench *b = bench_open();
	int fd = client_new(b);
	char got[64];

	say(fd, "ask\n");
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	turns(b, 4);
	assert_hears(fd, "ask\n");
	turns(b, 2);
	cr_assert_eq(hear(fd, got, sizeof(got)), 0);
	cr_assert_eq(server_clients(b->server), 0);
	close(fd);
	bench_close(b);
}

Test(control_server, too_many_clients)
{
	struct bench *b = bench_open();
	int fd[SERVER_CLIENTS_MAX];
	char got[256];

	for (uint32_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		fd[i] = client_new(b);
	cr_assert_eq(server_clients(b->server), SERVER_CLIENTS_MAX);
	int more = client_new(b);
	turn(b);
	cr_assert(hear(more, got, sizeof(got)) > 0);
	cr_assert_not_null(strstr(got, "too many clients"));
	cr_assert_eq(hear(more, got, sizeof(got)), 0);
	close(more);
	say(fd[31], "still\n");
	turns(b, 2);
	assert_hears(fd[31], "still\n");
	close(fd[0]);
	turns(b, 2);
	more = client_new(b); // there is room again
	say(more, "in\n");
	turns(b, 3);
	assert_hears(more, "in\n");
	for (uint32_t i = 1; i < SERVER_CLIENTS_MAX; i++)
		close(fd[i]);
	close(more);
	bench_close(b);
}

Test(control_server, large_answers_flow)
{
	struct bench *b = bench_open();
	size_t size = 8u << 20, len = 0;
	char *answer = malloc(size), *got = malloc(size + 2);
	int fd = client_new(b), other = client_new(b);

	for (size_t i = 0; i < size; i++)
		answer[i] = (char)('a' + i % 23);
	b->answer = answer;
	b->answer_size = size;
	say(fd, "much\n");
	turns(b, 3);
	b->answer = NULL;
	say(other, "quick\n"); // is not held up by the one that reads slowly
	turns(b, 3);
	assert_hears(other, "quick\n");
	for (uint32_t i = 0; i < 100000 && len < size + 1; i++) {
		ssize_t n = recv(fd, got + len, size + 1 - len, 0);
		len += n > 0 ? (size_t)n : 0;
		turn(b);
	}
	cr_assert_eq(len, size + 1);
	cr_assert(memcmp(got, answer, size) == 0);
	cr_assert_eq(got[size], '\n');
	// A client that does not read at all goes.
	b->answer = answer;
	say(fd, "again\n");
	turns(b, 3);
	b->now_ms += SERVER_ANSWER_IDLE_MS + 1;
	turns(b, 2);
	cr_assert_eq(server_clients(b->server), 0);
	close(fd);
	close(other);
	free(answer);
	free(got);
	bench_close(b);
}

Test(control_server, answers_over_the_limit_become_errors)
{
	struct bench *b = bench_open();
	int fd = client_new(b);
	char got[256];

	b->answer_size = SERVER_ANSWER_MAX + 1u;
	b->answer = calloc(1, b->answer_size);
	say(fd, "all\n");
	turns(b, 3);
	cr_assert(hear(fd, got, sizeof(got)) > 0);
	cr_assert_not_null(strstr(got, "too large"));
	free((char *)(uintptr_t)b->answer);
	close(fd);
	bench_close(b);
}

Test(control_server, socket_is_private_and_replaces_only_sockets)
{
	struct bench *b = bench_open();
	char reason[256], file[96];
	struct strbuf why;
	struct stat st;

	cr_assert_eq(stat(b->path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0660);
	strbuf_init(&why, reason, sizeof(reason));
	// One that a killed posternd left behind is replaced.
	struct server *second = server_open(b->path, line_taken, b, &why);
	cr_assert_not_null(second, "%s", reason);
	server_close(&second);
	snprintf(file, sizeof(file), "%s/file", b->dir);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	cr_assert_null(server_open(file, line_taken, b, &why));
	cr_assert_not_null(strstr(reason, "not a socket"));
	unlink(file);
	bench_close(b);
}
