// SPDX-License-Identifier: Apache-2.0
// server: the UNIX socket of posternd: takes lines from clients, gives answers back.
//
// What for: the transport under the API; it knows lines, not what is in them. Who calls it:
// posternd's loop: server_poll_fds before poll(), server_run after it; single-threaded. A client
// sends one line, gets one line, and may then send the next; what it sends early waits. The line's
// handler either answers at once or keeps the token and answers later; a token of a client that has
// gone away is simply stale. Memory: the server owns its clients' buffers; lines are borrowed for
// the handler's call. What can go wrong: every limit below is a closed connection, after a last
// error line where one can be sent. No behaviour of one client delays another one or the loop.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include "control/base/strbuf.h"

#define SERVER_CLIENTS_MAX 32
#define SERVER_LINE_MAX (64u << 10)          // a request, its newline included
#define SERVER_ANSWER_MAX (32u << 20)        // an answer
#define SERVER_ANSWERS_TOTAL_MAX (64u << 20) // all answers that wait to be read
#define SERVER_REQUEST_IDLE_MS 5000          // for a request that does not get finished
#define SERVER_ANSWER_IDLE_MS 10000          // for an answer that does not get read
#define SERVER_POLL_FDS (SERVER_CLIENTS_MAX + 1)

struct server;

struct server_token {
	uint32_t slot;
	uint32_t serial; // 0 is never in use
};

// `line` has no newline. Called from server_run only.
typedef void (*server_line_fn)(void *ctx, struct server_token who, struct span line);

// Binds `path` (mode 0660), replacing a socket that is there: the caller holds the lock of the run
// directory, so it is a dead one. NULL with a reason in `why`.
struct server *must_use server_open(const char *path, server_line_fn line, void *ctx,
				    struct strbuf *why);
void server_close(struct server **s); // removes the socket
uint32_t server_poll_fds(struct server *s, struct pollfd fds[SERVER_POLL_FDS]);
void server_run(struct server *s, const struct pollfd *fds, uint32_t count, uint64_t now_ms);
// `answer` (without newline) is copied. Too large: an error line goes out in its place. The token
// is used up. False: the client is gone.
bool server_answer(struct server *s, struct server_token who, struct span answer);
// The user who has connected, as the kernel knows it. False: the client is gone.
must_use bool server_peer(const struct server *s, struct server_token who, uid_t *uid);
// Still there? For handlers that would do work for a late answer.
bool server_is_waiting(const struct server *s, struct server_token who);
uint32_t server_clients(const struct server *s);

// For tests: makes a client of a connected socket, which the server owns from now on. False: no
// room.
bool server_adopt(struct server *s, int fd);
