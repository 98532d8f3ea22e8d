// SPDX-License-Identifier: Apache-2.0
// server: one slot a client, one state a slot:
//
//        accept            line, handler called            answer queued
//   FREE -------> READING --------------------> WAITING ------------------> WRITING
//     ^              |  ^                          | hangup                   |  |
//     |   idle, hangup  +--------------------------|--------- all written ----+  |
//     +--------------+-----------------------------+--------- idle, hangup ------+
//
// A client that is not READING is not read from, so a flood costs it only its own socket buffer.
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER_MAGIC 0x53525652u
#define ACCEPTS_A_TURN 8
#define LINES_A_TURN 4

enum client_state { CLIENT_FREE, CLIENT_READING, CLIENT_WAITING, CLIENT_WRITING };

struct client {
	enum client_state state;
	int fd;
	uint32_t serial;
	bool last_answer;  // close after it
	bool hung_up;      // nothing more comes; what is buffered still counts
	uint64_t since_ms; // last progress
	uint32_t in_len;
	char *in; // SERVER_LINE_MAX
	char *out;
	size_t out_len, out_done;
};

struct server {
	uint32_t magic;
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	server_line_fn line;
	void *ctx;
	uint32_t serial;
	uint64_t now_ms;
	size_t answers_bytes;
	struct client client[SERVER_CLIENTS_MAX];
};

static bool
socket_bind(struct server *s, const char *path, struct strbuf *why)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat st;
	size_t n = strlen(path);

	if (n >= sizeof(a.sun_path)) {
		strbuf_addf(why, "%s: a socket's path may have %zu characters", path,
			    sizeof(a.sun_path) - 1);
		return false;
	}
	memcpy(a.sun_path, path, n + 1);
	memcpy(s->path, path, n + 1);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode)) {
			strbuf_addf(why, "%s is in the way: not a socket", path);
			return false;
		}
		(void)unlink(path); // bind says so if this failed
	}
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0117); // so that there is no instant with a wider mode
	bool ok = s->fd >= 0 && bind(s->fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
		  listen(s->fd, SERVER_CLIENTS_MAX) == 0;
	int error = errno;
	umask(mask);
	if (!ok)
		strbuf_addf(why, "%s: %s", path, strerror(error));
	return ok;
}

struct server *must_use
server_open(const char *path, server_line_fn line, void *ctx, struct strbuf *why)
{
	CHECK(path != NULL && line != NULL && why != NULL);
	struct server *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		strbuf_add_str(why, "out of memory");
		return NULL;
	}
	s->magic = SERVER_MAGIC;
	s->line = line;
	s->ctx = ctx;
	s->fd = -1;
	if (!socket_bind(s, path, why)) {
		if (s->fd >= 0)
			close(s->fd);
		free(s);
		return NULL;
	}
	return s;
}

static void
client_close(struct server *s, struct client *c)
{
	CHECK(c->state != CLIENT_FREE);
	CHECK(s->answers_bytes >= c->out_len);
	s->answers_bytes -= c->out_len;
	close(c->fd);
	free(c->in);
	free(c->out);
	*c = (struct client){.state = CLIENT_FREE, .fd = -1};
}

void
server_close(struct server **s)
{
	CHECK(s != NULL);
	if (*s == NULL)
		return;
	OBJ_CHECK(*s, SERVER_MAGIC);
	for (uint32_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		if ((*s)->client[i].state != CLIENT_FREE)
			client_close(*s, &(*s)->client[i]);
	}
	close((*s)->fd);
	(void)unlink((*s)->path);
	(*s)->magic = 0;
	free(*s);
	*s = NULL;
}

bool
server_adopt(struct server *s, int fd)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	CHECK(fd >= 0);
	for (uint32_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->client[i];
		if (c->state != CLIENT_FREE)
			continue;
		char *in = malloc(SERVER_LINE_MAX);
		if (in == NULL || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
			free(in);
			return false;
		}
		s->serial = s->serial == UINT32_MAX ? 1 : s->serial + 1;
		*c = (struct client){.state = CLIENT_READING, .fd = fd, .serial = s->serial};
		c->in = in;
		c->since_ms = s->now_ms;
		return true;
	}
	return false;
}

static void
clients_accept(struct server *s)
{
	static const char full[] = "{\"ok\":false,\"exit\":1,\"errors\":[\"posternd has too many "
				   "clients: try again\"]}\n";

	for (uint32_t i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return; // nobody there, or a passing shortage: poll comes again
		if (server_adopt(s, fd))
			continue;
		(void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
}

uint32_t
server_poll_fds(struct server *s, struct pollfd fds[SERVER_POLL_FDS])
{
	uint32_t n = 0;

	OBJ_CHECK(s, SERVER_MAGIC);
	fds[n++] = (struct pollfd){.fd = s->fd, .events = POLLIN};
	for (uint32_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		const struct client *c = &s->client[i];
		short events = 0;
		if (c->state == CLIENT_FREE)
			continue;
		if (c->state == CLIENT_READING)
			events = POLLIN;
		else if (c->state == CLIENT_WRITING)
			events = POLLOUT;
		fds[n++] = (struct pollfd){.fd = c->fd, .events = events};
	}
	CHECK(n <= SERVER_POLL_FDS);
	return n;
}

static struct client *
client_of(struct server *s, struct server_token who)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	CHECK(who.slot < SERVER_CLIENTS_MAX);
	struct client *c = &s->client[who.slot];

	return who.serial != 0 && c->serial == who.serial && c->state == CLIENT_WAITING ? c : NULL;
}

bool
server_is_waiting(const struct server *s, struct server_token who)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	CHECK(who.slot < SERVER_CLIENTS_MAX);
	const struct client *c = &s->client[who.slot];

	return who.serial != 0 && c->serial == who.serial && c->state == CLIENT_WAITING;
}

bool
server_peer(const struct server *s, struct server_token who, uid_t *uid)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	CHECK(uid != NULL);
	if (!server_is_waiting(s, who) ||
	    getsockopt(s->client[who.slot].fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
		return false;
	*uid = peer.uid;
	return true;
}

uint32_t
server_clients(const struct server *s)
{
	uint32_t n = 0;

	OBJ_CHECK(s, SERVER_MAGIC);
	for (uint32_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		n += s->client[i].state != CLIENT_FREE;
	return n;
}

// Queues an answer; the client is in state WRITING afterwards, or gone.
static void
client_queue(struct server *s, struct client *c, struct span answer)
{
	static const char large[] =
		"{\"ok\":false,\"exit\":1,\"errors\":[\"the answer is too large: "
		"ask for less\"]}";

	CHECK(c->out == NULL && c->out_len == 0);
	if (answer.n > SERVER_ANSWER_MAX || answer.n > SERVER_ANSWERS_TOTAL_MAX - s->answers_bytes)
		answer = span_of(large, sizeof(large) - 1);
	c->out = malloc((size_t)answer.n + 1);
	if (c->out == NULL) {
		client_close(s, c);
		return;
	}
	memcpy(c->out, answer.p, answer.n);
	c->out[answer.n] = '\n';
	c->out_len = (size_t)answer.n + 1;
	c->out_done = 0;
	c->state = CLIENT_WRITING;
	c->since_ms = s->now_ms;
	s->answers_bytes += c->out_len;
}

bool
server_answer(struct server *s, struct server_token who, struct span answer)
{
	struct client *c = client_of(s, who);

	if (c == NULL)
		return false;
	client_queue(s, c, answer);
	return true;
}

static void
client_fail(struct server *s, struct client *c, const char *answer)
{
	c->last_answer = true;
	client_queue(s, c, span_str(answer));
}

static void
client_write(struct server *s, struct client *c)
{
	CHECK(c->state == CLIENT_WRITING && c->out_done < c->out_len);
	ssize_t n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_close(s, c);
		return;
	}
	c->out_done += (size_t)n;
	c->since_ms = s->now_ms;
	if (c->out_done < c->out_len)
		return;
	if (c->last_answer) {
		client_close(s, c);
		return;
	}
	s->answers_bytes -= c->out_len;
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_done = 0;
	c->state = CLIENT_READING;
}

static void
client_read(struct server *s, struct client *c)
{
	CHECK(c->state == CLIENT_READING && c->in_len < SERVER_LINE_MAX);
	ssize_t n = recv(c->fd, c->in + c->in_len, SERVER_LINE_MAX - c->in_len, 0);
	if (n > 0) {
		// The clock of a half request starts with its first byte and is not wound up by
		// more bytes: else one byte every four seconds would hold a slot for days.
		if (c->in_len == 0)
			c->since_ms = s->now_ms;
		c->in_len += (uint32_t)n;
	} else if (n == 0) {
		c->hung_up = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		client_close(s, c);
	}
}

// Takes the next whole line out of the buffer and gives it to the handler. False: there is none.
static bool
client_line(struct server *s, struct client *c)
{
	CHECK(c->state == CLIENT_READING && c->in_len <= SERVER_LINE_MAX);
	char *end = memchr(c->in, '\n', c->in_len);

	if (end == NULL) {
		if (c->in_len == SERVER_LINE_MAX)
			client_fail(s, c,
				    "{\"ok\":false,\"exit\":2,\"errors\":[\"request too long\"]}");
		return false;
	}
	uint32_t n = (uint32_t)(end - c->in);
	struct server_token who = {(uint32_t)(c - s->client), c->serial};
	c->state = CLIENT_WAITING;
	s->line(s->ctx, who, span_of(c->in, n));
	CHECK(c->state == CLIENT_WAITING || c->state == CLIENT_WRITING || c->state == CLIENT_FREE);
	if (c->state == CLIENT_FREE)
		return false;
	c->in_len -= n + 1;
	memmove(c->in, c->in + n + 1, c->in_len);
	return true;
}

static void
client_run(struct server *s, struct client *c, short events)
{
	if (c->state == CLIENT_WAITING && (events & (POLLERR | POLLHUP)) != 0) {
		client_close(s, c);
		return;
	}
	if (c->state == CLIENT_READING && (events & (POLLIN | POLLHUP | POLLERR)) != 0 &&
	    c->in_len < SERVER_LINE_MAX)
		client_read(s, c);
	for (uint32_t i = 0; i < LINES_A_TURN && c->state == CLIENT_READING; i++) {
		if (!client_line(s, c))
			break;
		if (c->state == CLIENT_WRITING)
			client_write(s, c);
	}
	if (c->state == CLIENT_WRITING && (events & (POLLOUT | POLLHUP | POLLERR)) != 0)
		client_write(s, c);
	if (c->state == CLIENT_READING && c->hung_up && memchr(c->in, '\n', c->in_len) == NULL)
		client_close(s, c);
}

static void
client_idle_check(struct server *s, struct client *c)
{
	uint64_t idle_ms = s->now_ms - MIN(c->since_ms, s->now_ms);

	if (c->state == CLIENT_READING && idle_ms > SERVER_REQUEST_IDLE_MS) {
		if (c->in_len == 0)
			client_close(s, c); // it never asked: nothing to tell it
		else
			client_fail(s, c,
				    "{\"ok\":false,\"exit\":2,\"errors\":[\"request not finished "
				    "in time\"]}");
	} else if (c->state == CLIENT_WRITING && idle_ms > SERVER_ANSWER_IDLE_MS) {
		client_close(s, c);
	}
}

void
server_run(struct server *s, const struct pollfd *fds, uint32_t count, uint64_t now_ms)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	CHECK(count <= SERVER_POLL_FDS);
	s->now_ms = now_ms;
	for (uint32_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->client[i];
		short events = 0;
		if (c->state == CLIENT_FREE)
			continue;
		for (uint32_t k = 0; k < count; k++) {
			if (fds[k].fd == c->fd)
				events = fds[k].revents;
		}
		client_run(s, c, events);
		if (c->state != CLIENT_FREE)
			client_idle_check(s, c);
	}
	// Last, so that a new client's descriptor is not taken for that of one closed above.
	for (uint32_t k = 0; k < count; k++) {
		if (fds[k].fd == s->fd && (fds[k].revents & POLLIN) != 0)
			clients_accept(s);
	}
}
