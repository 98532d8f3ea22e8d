// SPDX-License-Identifier: Apache-2.0
#include "control/cli_tail.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define FOLLOW_MS 200
#define RECONNECT_MS 500

static void
pause_ms(uint32_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&ts, NULL);
}

static json_t *
request_make(const char *lines, const char *place)
{
	json_t *args = json_object();

	if (place != NULL)
		(void)json_object_set_new(args, "place", json_string(place));
	else if (lines != NULL)
		(void)json_object_set_new(args, "lines", json_string(lines));
	return json_pack("{s:s, s:s, s:b, s:o}", "noun", "log", "verb", "tail", "json", 1, "args",
			 args);
}

// The lines as they are in the file, which are JSON already. For a program (`only_json`) a line
// that somebody else has written into the file becomes a JSON string.
static bool
lines_print(const json_t *lines, bool only_json)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
	{
		const char *s = json_string_value(line);
		size_t n = json_string_length(line);
		json_t *v = only_json ? json_loadb(s, n, JSON_ALLOW_NUL, NULL) : NULL;
		if (only_json && v == NULL)
			(void)json_dumpf(line, stdout, JSON_ENCODE_ANY);
		else
			(void)fwrite(s, 1, n, stdout);
		json_decref(v);
		(void)putchar('\n');
	}
	return fflush(stdout) == 0;
}

static bool
client_again(struct cli_client *client)
{
	char reason[256], path[sizeof(client->path)];
	struct strbuf why;

	cli_client_close(client);
	memcpy(path, client->path, sizeof(path));
	strbuf_init(&why, reason, sizeof(reason));
	return cli_client_open(client, path, &why);
}

// Asks from `place` on until stdout is gone or posternd says no.
static int
follow(struct cli_client *client, char place[64], bool only_json)
{
	bool told = false;

	for (;;) {
		char reason[256];
		struct strbuf why;
		strbuf_init(&why, reason, sizeof(reason));
		json_t *request = request_make(NULL, place);
		json_t *answer = client->fd < 0 ? NULL : cli_client_ask(client, request, &why);
		json_decref(request);
		if (answer == NULL) {
			if (!told)
				fputs("postern: posternd has gone; waiting for it\n", stderr);
			told = true;
			pause_ms(RECONNECT_MS);
			(void)client_again(client);
			continue;
		}
		told = false;
		int status = cli_answer_status(answer);
		const json_t *data = json_object_get(answer, "data");
		const json_t *lines = json_object_get(data, "lines");
		const char *next = json_string_value(json_object_get(data, "place"));
		bool printed = lines_print(lines, only_json);
		bool idle = json_array_size(lines) == 0;
		if (status == 0 && next != NULL)
			(void)snprintf(place, 64, "%s", next);
		json_decref(answer);
		if (status != 0 || !printed)
			return status;
		if (idle)
			pause_ms(FOLLOW_MS);
	}
}

int
cli_tail_run(struct cli_client *client, const struct cli_request *r)
{
	char reason[256], place[64] = "";
	struct strbuf why;

	CHECK(client != NULL && r != NULL);
	bool follows = (r->given & CLI_BIT(FOLLOW)) != 0;
	strbuf_init(&why, reason, sizeof(reason));
	json_t *request = request_make(r->option[CLI_LINES], NULL);
	json_t *answer = cli_client_ask(client, request, &why);
	json_decref(request);
	if (answer == NULL) {
		fprintf(stderr, "postern: %s\n", reason);
		return 1;
	}
	int status = cli_answer_status(answer);
	const json_t *data = json_object_get(answer, "data");
	const json_t *lines = json_object_get(data, "lines");
	const char *next = json_string_value(json_object_get(data, "place"));
	if (next != NULL)
		(void)snprintf(place, sizeof(place), "%s", next);
	bool printed = status != 0 || lines_print(lines, r->json);
	json_decref(answer);
	if (status != 0 || !printed || !follows)
		return status;
	return follow(client, place, r->json);
}
