// SPDX-License-Identifier: Apache-2.0
// What posternd says to its operator, and to whom it says what.
#include "test/unit/control_rig.h"

// posternd has started with a broken file and a policy from before.
Test(control_api_words, change_with_a_broken_file)
{
	struct bench *b = bench_open();

	posternd_end(b);
	config_write(b, "nonsense: 1\n");
	posternd_begin(b);
	cr_assert(!runtime_has_policy(b->runtime));
	json_t *o = asked(b, "{\"noun\":\"block\",\"verb\":\"add\",\"args\":[\"203.0.113.1\"]}");
	assert_exit(o, 1);
	char *text = json_dumps(json_object_get(o, "errors"), 0);
	cr_assert_not_null(strstr(text, "stored, not published"), "%s", text);
	cr_assert_not_null(strstr(text, b->config), "%s", text);
	free(text);
	json_decref(o);
	o = asked(b, "{\"noun\":\"block\",\"verb\":\"list\"}");
	assert_exit(o, 0);
	cr_assert_not_null(strstr(json_string_value(json_object_get(o, "text")), "203.0.113.1"));
	text = json_dumps(json_object_get(o, "warnings"), 0);
	cr_assert_not_null(strstr(text, "has errors"), "%s", text);
	free(text);
	json_decref(o);
	config_write(b, config_text);
	o = asked(b, "{\"noun\":\"policy\",\"verb\":\"apply\"}");
	assert_exit(o, 0);
	json_decref(o);
	o = asked(b, "{\"noun\":\"block\",\"verb\":\"list\"}");
	cr_assert_eq(json_array_size(json_object_get(o, "warnings")), 0);
	json_decref(o);
	bench_close(b);
}

// What `block add` says: in the text, or as a warning.
Test(control_api_words, add_says_what_it_did)
{
	static const struct {
		const char *args, *text, *warning; // NULL: nothing of that
	} rows[] = {
		{"\"prefix\":\"203.0.113.1\",\"comment\":\"noise\"",
		 "203.0.113.1 is on the block list: published", NULL},
		{"\"prefix\":\"203.0.113.1\",\"comment\":\"noise\"",
		 "203.0.113.1 is on the block list: published", NULL},
		{"\"prefix\":\"203.0.113.1\",\"expires\":\"2099-01-01\"",
		 "is on the block list, until 2099-01-01T00:00:00Z, comment \"noise\" (replaced: "
		 "was "
		 "permanent, comment \"noise\"): published",
		 NULL},
		{"\"prefix\":\"203.0.113.1\",\"comment\":\"\"",
		 "permanent, no comment (replaced: was until 2099-01-01T00:00:00Z, comment "
		 "\"noise\")",
		 NULL},
		{"\"prefix\":\"198.51.100.0/24\"", NULL, "nothing is added: it is in "},
		{"\"prefix\":\"0.0.0.0/0\"", "0.0.0.0/0 is on the block list",
		 "every IPv4 address"},
		{"\"prefix\":\"2001:db8::/32\"", "2001:db8::/32 is on the block list", NULL},
		{"\"prefix\":\"::/0\"", "is on the block list", "every IPv6 address"},
	};
	struct bench *b = bench_open();
	char line[256];

	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(line, sizeof(line), "{\"noun\":\"block\",\"verb\":\"add\",\"args\":{%s}}",
			 rows[i].args);
		json_t *o = asked(b, line);
		assert_exit(o, 0);
		const char *text = json_string_value(json_object_get(o, "text"));
		cr_assert(rows[i].text != NULL ? strstr(text, rows[i].text) != NULL
					       : text[0] == '\0',
			  "%s: %s", rows[i].args, text);
		const json_t *warnings = json_object_get(o, "warnings");
		cr_assert_eq(json_array_size(warnings), rows[i].warning != NULL, "%s",
			     rows[i].args);
		const char *said = json_string_value(json_array_get(warnings, 0));
		cr_assert(rows[i].warning == NULL || strstr(said, rows[i].warning) != NULL, "%s",
			  said);
		json_decref(o);
	}
	json_t *o =
		asked(b, "{\"noun\":\"allow\",\"verb\":\"add\",\"args\":[\"198.51.100.0/24\"]}");
	assert_exit(o, 0);
	char *text = json_dumps(json_object_get(o, "warnings"), 0);
	cr_assert_not_null(strstr(text, "on the block list too, in "), "%s", text);
	free(text);
	json_decref(o);
	o = asked(b, "{\"noun\":\"block\",\"verb\":\"add\",\"json\":true,\"args\":[\"198.51.100.0/"
		     "24\"]}");
	cr_assert_str_eq(data_text(o, "state"), "unchanged");
	json_decref(o);
	bench_close(b);
}

// In the words of the command line, and as wrong usage.
Test(control_api_words, bad_numbers)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{"{\"noun\":\"agent\",\"verb\":\"priority\",\"args\":[\"sender filter\",0]}",
		 "N: a number from 1 to"},
		{"{\"noun\":\"agent\",\"verb\":\"priority\",\"args\":[\"sender "
		 "filter\",\"first\"]}",
		 "N: a number from 1 to"},
		{"{\"noun\":\"log\",\"verb\":\"tail\",\"args\":{\"lines\":\"x\"}}",
		 "-n (--lines): a number from 0 to"},
	};
	struct bench *b = bench_open();

	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *o = asked(b, rows[i].line);
		assert_exit(o, 2);
		char *text = json_dumps(json_object_get(o, "errors"), 0);
		cr_assert_not_null(strstr(text, rows[i].says), "%s: %s", rows[i].line, text);
		free(text);
		json_decref(o);
	}
	bench_close(b);
}

// The CLI writes "warning: " in front of each: once is enough.
Test(control_api_words, warnings_do_not_say_so_themselves)
{
	struct bench *b = bench_open();
	char more[2048];

	snprintf(more, sizeof(more), "%s    - {prefix: 203.0.113.5, expires: 2020-01-01}\n",
		 config_text);
	config_write(b, more);
	json_t *o = asked(b, "{\"noun\":\"policy\",\"verb\":\"apply\"}");
	assert_exit(o, 0);
	const json_t *warnings = json_object_get(o, "warnings");
	cr_assert_eq(json_array_size(warnings), 1);
	const char *said = json_string_value(json_array_get(warnings, 0));
	cr_assert_null(strstr(said, "warning"), "%s", said);
	cr_assert_not_null(strstr(said, "postern.yaml:17:"), "%s", said);
	json_decref(o);
	// The list marks what does not match any more; what a program reads stays a time.
	o = asked(b, "{\"noun\":\"block\",\"verb\":\"list\"}");
	cr_assert_not_null(strstr(json_string_value(json_object_get(o, "text")),
				  "2020-01-01T00:00:00Z (expired)"));
	json_decref(o);
	o = asked(b, "{\"noun\":\"block\",\"verb\":\"list\",\"json\":true}");
	const json_t *row = json_array_get(json_object_get(o, "data"), 1);
	cr_assert_str_eq(json_string_value(json_object_get(row, "expires")),
			 "2020-01-01T00:00:00Z");
	cr_assert(json_is_true(json_object_get(row, "expired")));
	row = json_array_get(json_object_get(o, "data"), 0);
	cr_assert(json_is_false(json_object_get(row, "expired")));
	json_decref(o);
	bench_close(b);
}

// A client that has connected as somebody else.
Test(control_api_words, file_that_the_client_may_not_read)
{
	struct bench *b = bench_open();
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char line[256], secret[128];

	if (geteuid() != 0)
		cr_skip_test("needs root to be somebody else");
	snprintf(secret, sizeof(secret), "%s/secret", b->dir);
	FILE *f = fopen(secret, "w");
	cr_assert_not_null(f);
	fputs("password: 1\n", f);
	fclose(f);
	cr_assert_eq(chmod(secret, 0640), 0);
	cr_assert_eq(chmod(b->dir, 0755), 0);
	cr_assert_eq(chmod(b->socket, 0666), 0);
	snprintf(line, sizeof(line), "{\"noun\":\"policy\",\"verb\":\"check\",\"args\":[\"%s\"]}",
		 secret);
	memcpy(a.sun_path, b->socket, strlen(b->socket) + 1);
	for (uint32_t own = 0; own < 2; own++) {
		close(b->client[0]);
		b->client[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		cr_assert_eq(seteuid(own ? 0 : 54321), 0);
		cr_assert_eq(connect(b->client[0], (struct sockaddr *)&a, sizeof(a)), 0);
		cr_assert_eq(seteuid(0), 0);
		turns(b, 2);
		json_t *o = asked(b, line);
		assert_exit(o, 1);
		char *text = json_dumps(json_object_get(o, "errors"), 0);
		cr_assert((strstr(text, "password") != NULL) == (own == 1), "%s", text);
		cr_assert((strstr(text, "neither yours") != NULL) == (own == 0), "%s", text);
		free(text);
		json_decref(o);
	}
	bench_close(b);
}
