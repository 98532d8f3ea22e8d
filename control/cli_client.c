// SPDX-License-Identifier: Apache-2.0
#include "control/cli_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10)

must_use bool
cli_client_open(struct cli_client *c, const char *path, struct strbuf *why)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = CLI_ANSWER_S};

	CHECK(c != NULL && path != NULL);
	*c = (struct cli_client){.fd = -1};
	size_t n = strlen(path);
	if (n >= sizeof(a.sun_path) || n >= sizeof(c->path)) {
		strbuf_addf(why, "%s: too long for a socket's path", path);
		return false;
	}
	memcpy(a.sun_path, path, n + 1);
	memcpy(c->path, path, n + 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
		(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		return true;
	}
	if (errno == ENOENT || errno == ECONNREFUSED)
		strbuf_addf(why, "posternd is not running (nobody listens at %s)", path);
	else
		strbuf_addf(why, "%s: %s", path, strerror(errno));
	cli_client_close(c);
	return false;
}

void
cli_client_close(struct cli_client *c)
{
	CHECK(c != NULL);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static bool
line_send(struct cli_client *c, const char *line, size_t n, struct strbuf *why)
{
	size_t done = 0;

	while (done < n) {
		ssize_t k = send(c->fd, line + done, n - done, MSG_NOSIGNAL);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			strbuf_addf(why, "posternd: %s", strerror(errno));
			return false;
		}
		done += (size_t)k;
	}
	return true;
}

// Reads up to the newline. NULL: see `why`. The caller frees.
static char *
line_receive(struct cli_client *c, size_t *len, struct strbuf *why)
{
	size_t cap = 0, n = 0;
	char *line = NULL;

	while (n < CLI_ANSWER_MAX) {
		if (cap - n < PIECE_BYTES) {
			cap = cap == 0 ? PIECE_BYTES * 2 : cap * 2;
			char *more = realloc(line, cap);
			if (more == NULL)
				break;
			line = more;
		}
		ssize_t k = recv(c->fd, line + n, PIECE_BYTES, 0);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			const char *text = k == 0 ? "it closed the connection" : strerror(errno);
			if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
				text = "no answer in time";
			strbuf_addf(why, "posternd: %s", text);
			free(line);
			return NULL;
		}
		n += (size_t)k;
		if (line[n - 1] == '\n') { // one answer, one line, nothing behind it
			*len = n - 1;
			return line;
		}
	}
	strbuf_add_str(why, "posternd: the answer is too large");
	free(line);
	return NULL;
}

json_t *must_use
cli_client_ask(struct cli_client *c, const json_t *request, struct strbuf *why)
{
	size_t n = 0;

	CHECK(c != NULL && c->fd >= 0);
	char *line = json_dumps(request, JSON_COMPACT);
	if (line == NULL) {
		strbuf_add_str(why, "out of memory");
		return NULL;
	}
	bool sent = line_send(c, line, strlen(line), why) && line_send(c, "\n", 1, why);
	free(line);
	if (!sent)
		return NULL;
	line = line_receive(c, &n, why);
	if (line == NULL)
		return NULL;
	json_t *answer = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
	free(line);
	if (!json_is_object(answer)) {
		json_decref(answer);
		answer = NULL;
		strbuf_add_str(why, "posternd: the answer makes no sense");
	}
	return answer;
}

// Control characters are shown as `?`: reasons quote names that came from elsewhere.
static void
print_lines(const char *prefix, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
	{
		const char *s = json_string_value(line);
		fputs(prefix, stderr);
		for (; s != NULL && *s != '\0'; s++)
			fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, stderr);
		fputc('\n', stderr);
	}
}

int
cli_answer_status(const json_t *answer)
{
	const json_t *exit_status = json_object_get(answer, "exit");

	print_lines("postern: warning: ", json_object_get(answer, "warnings"));
	print_lines("postern: ", json_object_get(answer, "errors"));
	if (json_is_true(json_object_get(answer, "ok")))
		return 0;
	return json_integer_value(exit_status) == 2 ? 2 : 1;
}
