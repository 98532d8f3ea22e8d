// SPDX-License-Identifier: Apache-2.0
// The store: what was put is there after a reopen; damage is set aside and said; a store that
// cannot be opened refuses changes and nothing else.
#include "control/store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static void
setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/postern-store-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
}

static void
teardown(void)
{
	DIR *d = opendir(dir);
	char path[400];

	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		(void)unlink(path);
	}
	closedir(d);
	(void)rmdir(dir);
}

TestSuite(control_store, .init = setup, .fini = teardown);

static struct store *
reopen(struct store *s, uint32_t warnings)
{
	struct diag_list d;

	store_close(&s);
	diag_init(&d, NULL);
	s = store_open(dir, &d);
	cr_assert(s != NULL);
	for (uint32_t i = 0; i < d.count; i++)
		cr_log_info("%s", d.row[i].text);
	cr_assert(d.errors == 0);
	cr_assert(d.warnings == warnings, "%u warnings", d.warnings);
	diag_fini(&d);
	return s;
}

static struct ipprefix
prefix(const char *s)
{
	struct ipprefix p;

	cr_assert(ipprefix_parse(span_str(s), &p), "%s", s);
	return p;
}

static enum store_result
put(struct store *s, enum store_list list, const char *p, uint64_t expires_s, const char *comment)
{
	struct diag_list d;
	struct store_ip ip = {.prefix = prefix(p),
			      .expires_s = expires_s,
			      .added_s = 1000,
			      .comment = (char *)(uintptr_t)comment};

	diag_init(&d, NULL);
	enum store_result r = store_ip_put(s, list, &ip, &d);
	cr_assert(diag_has_error(&d) == (r == STORE_FULL || r == STORE_FAILED));
	diag_fini(&d);
	return r;
}

static enum store_result
del(struct store *s, enum store_list list, const char *text)
{
	struct diag_list d;
	struct ipprefix p = prefix(text);

	diag_init(&d, NULL);
	enum store_result r = store_ip_del(s, list, &p, &d);
	diag_fini(&d);
	return r;
}

static const struct store_ip *
find(struct store *s, enum store_list list, const char *text)
{
	struct ipprefix p = prefix(text);

	return store_ip_find(s, list, &p);
}

Test(control_store, entries_survive_reopen)
{
	struct store *s = reopen(NULL, 0);

	cr_assert(store_is_writable(s));
	cr_assert(put(s, STORE_BLOCK, "192.0.2.0/24", 0, "spam") == STORE_OK);
	cr_assert(put(s, STORE_BLOCK, "192.0.2.0/25", 5000, "") == STORE_OK);
	cr_assert(put(s, STORE_BLOCK, "2001:db8::/32", 0, "") == STORE_OK);
	cr_assert(put(s, STORE_ALLOW, "192.0.2.0/24", 0, "other list") == STORE_OK);
	cr_assert(put(s, STORE_BLOCK, "192.0.2.0/24", 0, "spam") == STORE_SAME);
	cr_assert(put(s, STORE_BLOCK, "192.0.2.0/24", 7000, "it's \"quoted\"; --") == STORE_OK);
	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_OK);
	cr_assert(del(s, STORE_BLOCK, "192.0.2.0/25") == STORE_OK);
	cr_assert(del(s, STORE_BLOCK, "192.0.2.0/25") == STORE_SAME);
	cr_assert(del(s, STORE_ALLOW, "10.0.0.1") == STORE_SAME);
	for (uint32_t turn = 0; turn < 2; turn++) {
		const struct store_overlay *o = store_overlay(s);
		cr_assert(o->ip_count[STORE_BLOCK] == 3);
		cr_assert(o->ip_count[STORE_ALLOW] == 1);
		const struct store_ip *ip = find(s, STORE_BLOCK, "192.0.2.0/24");
		cr_assert(ip != NULL && ip->expires_s == 7000 && ip->added_s == 1000);
		cr_assert_str_eq(ip->comment, "it's \"quoted\"; --");
		cr_assert(find(s, STORE_BLOCK, "192.0.2.0/25") == NULL);
		cr_assert(find(s, STORE_BLOCK, "2001:db8::/32") != NULL);
		cr_assert_str_eq(find(s, STORE_ALLOW, "192.0.2.0/24")->comment, "other list");
		s = reopen(s, 0);
	}
	store_close(&s);
}

Test(control_store, agents_survive_reopen)
{
	struct diag_list d;
	struct store_agent state[AGENT_COUNT];
	struct store *s = reopen(NULL, 0);

	diag_init(&d, NULL);
	for (uint32_t a = 0; a < AGENT_COUNT; a++) {
		cr_assert(store_overlay(s)->agent[a].enabled == -1);
		cr_assert(store_overlay(s)->agent[a].priority == 0);
		state[a] = (struct store_agent){.enabled = -1};
	}
	cr_assert(store_agents_put(s, state, &d) == STORE_SAME);
	state[AGENT_content_filter].enabled = 0;
	state[AGENT_sender_filter] = (struct store_agent){.enabled = 1, .priority = 2};
	cr_assert(store_agents_put(s, state, &d) == STORE_OK);
	cr_assert(store_agents_put(s, state, &d) == STORE_SAME);
	s = reopen(s, 0);
	cr_assert(memcmp(store_overlay(s)->agent, state, sizeof(state)) == 0);
	state[AGENT_content_filter].enabled = -1;
	cr_assert(store_agents_put(s, state, &d) == STORE_OK);
	s = reopen(s, 0);
	cr_assert(memcmp(store_overlay(s)->agent, state, sizeof(state)) == 0);
	store_close(&s);
	diag_fini(&d);
}

// The process ends without closing anything right after the call has returned.
Test(control_store, change_is_durable_when_it_returns)
{
	struct diag_list d;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		diag_init(&d, NULL);
		struct store *s = store_open(dir, &d);
		struct store_ip ip = {.added_s = 1};
		bool ok = s != NULL && ipprefix_parse(SPAN_LIT("198.51.100.9"), &ip.prefix) &&
			  store_ip_put(s, STORE_BLOCK, &ip, &d) == STORE_OK;
		_exit(ok ? 0 : 1);
	}
	cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	struct store *s = reopen(NULL, 0);
	cr_assert(find(s, STORE_BLOCK, "198.51.100.9") != NULL);
	store_close(&s);
}

Test(control_store, purge)
{
	struct store *s = reopen(NULL, 0);

	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 100, "") == STORE_OK);
	cr_assert(put(s, STORE_BLOCK, "10.0.0.2", 200, "") == STORE_OK);
	cr_assert(put(s, STORE_ALLOW, "10.0.0.3", 101, "") == STORE_OK);
	cr_assert(put(s, STORE_ALLOW, "10.0.0.4", 0, "") == STORE_OK);
	cr_assert(store_ip_purge(s, 99) == 0);
	cr_assert(store_ip_purge(s, 101) == 2);
	cr_assert(store_ip_purge(s, 101) == 0);
	s = reopen(s, 0);
	cr_assert(find(s, STORE_BLOCK, "10.0.0.1") == NULL);
	cr_assert(find(s, STORE_BLOCK, "10.0.0.2") != NULL);
	cr_assert(find(s, STORE_ALLOW, "10.0.0.3") == NULL);
	cr_assert(find(s, STORE_ALLOW, "10.0.0.4") != NULL);
	store_close(&s);
}

static uint32_t
damaged_count(void)
{
	DIR *d = opendir(dir);
	uint32_t n = 0;

	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += strncmp(e->d_name, STORE_FILE ".damaged-", strlen(STORE_FILE ".damaged-")) ==
			     0 &&
		     strchr(e->d_name + strlen(STORE_FILE ".damaged-"), '-') == NULL;
	closedir(d);
	return n;
}

static void
overwrite(long at, const char *bytes, size_t n)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/" STORE_FILE, dir);
	FILE *f = fopen(path, "r+b");
	if (f == NULL)
		f = fopen(path, "wb");
	cr_assert(f != NULL);
	cr_assert(fseek(f, at, SEEK_SET) == 0);
	cr_assert(fwrite(bytes, 1, n, f) == n);
	fclose(f);
}

static void
sql(const char *text)
{
	char path[100];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/" STORE_FILE, dir);
	cr_assert(sqlite3_open(path, &db) == SQLITE_OK);
	cr_assert(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

Test(control_store, rubbish_is_set_aside)
{
	overwrite(0, "this was never a database, but it has bytes", 43);
	struct store *s = reopen(NULL, 1);
	cr_assert(damaged_count() == 1);
	cr_assert(store_is_writable(s));
	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_OK);
	store_close(&s);
	overwrite(0, "this was never a database, but it has bytes", 43); // within the same second
	s = reopen(NULL, 1);
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 0);
	s = reopen(s, 0);
	store_close(&s);
}

Test(control_store, damaged_page_is_set_aside)
{
	char rubbish[4096];
	struct store *s = reopen(NULL, 0);

	store_close(&s); // checkpoints the log into the file
	sql("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999) "
	    "INSERT INTO ip_entry SELECT 'block', printf('10.1.%d.%d', i / 250, i % 250), 0, '', 1 "
	    "FROM n");
	s = reopen(NULL, 0);
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 2000);
	store_close(&s);
	memset(rubbish, 0xa5, sizeof(rubbish));
	overwrite(8 * 4096, rubbish, sizeof(rubbish));
	s = reopen(NULL, 1);
	cr_assert(damaged_count() == 1);
	cr_assert(store_is_writable(s));
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 0);
	store_close(&s);
}

// A sound database with rows that make no sense: the good ones are used.
Test(control_store, odd_rows_are_left_out)
{
	struct store *s = reopen(NULL, 0);

	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_OK);
	store_close(&s);
	sql("INSERT INTO ip_entry VALUES ('block', 'not a prefix', 0, '', 1);"
	    "INSERT INTO ip_entry VALUES ('grey', '10.0.0.2', 0, '', 1);"
	    "INSERT INTO ip_entry VALUES ('block', '10.0.0.3', 0, 'two' || char(10) || 'lines', 1);"
	    "INSERT INTO ip_entry VALUES ('block', '10.0.0.1/32', 0, '', 1);"
	    "INSERT INTO ip_entry VALUES ('block', '10.0.0.4', -5, '', -1);"
	    "INSERT INTO agent_state VALUES ('No Such Agent', 1, 1);"
	    "INSERT INTO agent_state VALUES ('Content Filter', 1, 99);"
	    "INSERT INTO agent_state VALUES ('Sender Filter', 0, 0);");
	s = reopen(NULL, 1);
	cr_assert(store_is_writable(s));
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 2);
	cr_assert(find(s, STORE_BLOCK, "10.0.0.4")->expires_s == 0);
	cr_assert(store_overlay(s)->agent[AGENT_content_filter].enabled == -1);
	cr_assert(store_overlay(s)->agent[AGENT_sender_filter].enabled == 0);
	store_close(&s);
}

// Made by a later version: not ours to read, and not damaged either.
Test(control_store, newer_schema_is_left_alone)
{
	struct store *s = reopen(NULL, 0);

	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_OK);
	store_close(&s);
	sql("PRAGMA user_version = 2");
	s = reopen(NULL, 1);
	cr_assert(!store_is_writable(s));
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 0);
	cr_assert(put(s, STORE_BLOCK, "10.0.0.2", 0, "") == STORE_FAILED);
	cr_assert(damaged_count() == 0);
	store_close(&s);
	sql("PRAGMA user_version = 1");
	s = reopen(NULL, 0);
	cr_assert(find(s, STORE_BLOCK, "10.0.0.1") != NULL);
	store_close(&s);
}

Test(control_store, no_directory_refuses_changes)
{
	struct diag_list d;
	struct store_agent state[AGENT_COUNT] = {{.enabled = 0}};

	diag_init(&d, NULL);
	struct store *s = store_open("/proc/nothing/here", &d);
	cr_assert(s != NULL);
	cr_assert(d.warnings == 1 && d.errors == 0);
	cr_assert(!store_is_writable(s));
	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_FAILED);
	cr_assert(del(s, STORE_BLOCK, "10.0.0.1") == STORE_FAILED);
	cr_assert(store_agents_put(s, state, &d) == STORE_FAILED);
	cr_assert(store_ip_purge(s, 1) == 0);
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 0);
	store_close(&s);
	diag_fini(&d);
}

// Somebody holds the database: the change is refused with the reason, and memory stays as it was.
Test(control_store, busy_database_refuses)
{
	char path[100];
	sqlite3 *db;
	struct store *s = reopen(NULL, 0);

	snprintf(path, sizeof(path), "%s/" STORE_FILE, dir);
	cr_assert(sqlite3_open(path, &db) == SQLITE_OK);
	cr_assert(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_FAILED);
	cr_assert(store_overlay(s)->ip_count[STORE_BLOCK] == 0);
	cr_assert(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(db);
	cr_assert(put(s, STORE_BLOCK, "10.0.0.1", 0, "") == STORE_OK);
	store_close(&s);
}

// The copy in memory against a plain array, with random changes.
Test(control_store, memory_matches_disk)
{
	enum { SPACE = 40, STEPS = 400 };
	bool want[STORE_LIST_COUNT][SPACE] = {{false}};
	uint32_t seed = 12345;
	char text[40];
	struct store *s = reopen(NULL, 0);

	for (uint32_t i = 0; i < STEPS; i++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t n = (seed >> 8) % SPACE, list = (seed >> 20) & 1;
		snprintf(text, sizeof(text), "10.0.%u.%u", n % 7, n);
		if (seed >> 31) {
			cr_assert(put(s, list, text, 0, "") ==
				  (want[list][n] ? STORE_SAME : STORE_OK));
			want[list][n] = true;
		} else {
			cr_assert(del(s, list, text) == (want[list][n] ? STORE_OK : STORE_SAME));
			want[list][n] = false;
		}
	}
	for (uint32_t turn = 0; turn < 2; turn++) {
		for (uint32_t l = 0; l < STORE_LIST_COUNT; l++) {
			for (uint32_t n = 0; n < SPACE; n++) {
				snprintf(text, sizeof(text), "10.0.%u.%u", n % 7, n);
				cr_assert((find(s, l, text) != NULL) == want[l][n]);
			}
		}
		s = reopen(s, 0);
	}
	store_close(&s);
}
