// SPDX-License-Identifier: Apache-2.0
// cli_client: the CLI's end of posternd's socket: a line out, a line back.
//
// Who calls it: `postern` only. Memory: the client belongs to the caller; an answer is malloc'ed
// JSON that the caller releases with json_decref. What can go wrong: nobody listens, the connection
// breaks, the answer takes too long or makes no sense: NULL with a reason for people in `why`.
#pragma once

#include <jansson.h>

#include "control/base/strbuf.h"

#define CLI_ANSWER_MAX (64u << 20)
#define CLI_ANSWER_S 120 // compiling a large policy takes a while

struct cli_client {
	int fd; // -1: not connected
	char path[108];
};

must_use bool cli_client_open(struct cli_client *c, const char *path, struct strbuf *why);
void cli_client_close(struct cli_client *c);
json_t *must_use cli_client_ask(struct cli_client *c, const json_t *request, struct strbuf *why);
// Prints an answer's warnings and errors on stderr; returns the exit status that it asks for.
int cli_answer_status(const json_t *answer);
