// SPDX-License-Identifier: Apache-2.0
// store: SQLite below, a sorted copy in memory above. See store.h.
//
// Tables: ip_entry(list, prefix, expires, comment, added), agent_state(agent, enabled, priority).
// WAL with synchronous=FULL: a commit has reached the disk when it returns. What is read from the
// database is input, like any file: rows that make no sense are left out with a warning.
#include "control/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BUSY_MS 200 // somebody looks at the database with sqlite3; longer would hold up the log
#define PATH_SIZE 512

struct store {
	sqlite3 *db; // NULL: not available, `why` says why
	char path[PATH_SIZE];
	char why[200];
	struct store_overlay overlay;
};

static const char *const list_names[] = {"allow", "block"};
static_assert(ARRAY_LEN(list_names) == STORE_LIST_COUNT, "one name a list");

const char *
store_list_name(enum store_list list)
{
	CHECK((uint32_t)list < STORE_LIST_COUNT);
	return list_names[list];
}

// --- the copy in memory ---

static int
prefix_cmp(const struct ipprefix *a, const struct ipprefix *b)
{
	int diff = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	return diff != 0 ? diff : (int)a->bits - (int)b->bits;
}

// The first entry that is not below p.
static uint32_t
ip_lower_bound(const struct store_overlay *o, enum store_list list, const struct ipprefix *p)
{
	uint32_t low = 0, high = o->ip_count[list];

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (prefix_cmp(&o->ip[list][mid].prefix, p) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
ip_is_at(const struct store_overlay *o, enum store_list list, uint32_t at, const struct ipprefix *p)
{
	return at < o->ip_count[list] && prefix_cmp(&o->ip[list][at].prefix, p) == 0;
}

static bool
ip_reserve(struct store_overlay *o, enum store_list list)
{
	if (o->ip_count[list] < o->ip_cap[list])
		return true;
	uint32_t cap = o->ip_cap[list] == 0 ? 64 : 2 * o->ip_cap[list];
	struct store_ip *grown = realloc(o->ip[list], cap * sizeof(*grown));
	if (grown == NULL)
		return false;
	o->ip[list] = grown;
	o->ip_cap[list] = cap;
	return true;
}

// Takes ip->comment over. There must be room (ip_reserve) for an entry that is new.
static void
ip_set(struct store_overlay *o, enum store_list list, const struct store_ip *ip)
{
	uint32_t at = ip_lower_bound(o, list, &ip->prefix);

	CHECK(ip->comment != NULL);
	if (ip_is_at(o, list, at, &ip->prefix)) {
		free(o->ip[list][at].comment);
	} else {
		CHECK(o->ip_count[list] < o->ip_cap[list]);
		memmove(&o->ip[list][at + 1], &o->ip[list][at],
			(o->ip_count[list] - at) * sizeof(struct store_ip));
		o->ip_count[list]++;
	}
	o->ip[list][at] = *ip;
}

static void
ip_unset(struct store_overlay *o, enum store_list list, uint32_t at)
{
	CHECK(at < o->ip_count[list]);
	free(o->ip[list][at].comment);
	o->ip_count[list]--;
	memmove(&o->ip[list][at], &o->ip[list][at + 1],
		(o->ip_count[list] - at) * sizeof(struct store_ip));
}

static void
overlay_clear(struct store_overlay *o)
{
	for (uint32_t l = 0; l < STORE_LIST_COUNT; l++) {
		for (uint32_t i = 0; i < o->ip_count[l]; i++)
			free(o->ip[l][i].comment);
		free(o->ip[l]);
	}
	*o = (struct store_overlay){0};
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		o->agent[a].enabled = -1;
}

// --- reading the database ---

static bool
exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static struct span
column_span(sqlite3_stmt *st, int column)
{
	const void *text = sqlite3_column_text(st, column);
	int n = sqlite3_column_bytes(st, column);

	return text == NULL ? SPAN_NONE : span_of(text, (size_t)n);
}

static bool
text_is_line(struct span s, uint32_t most)
{
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	}
	return s.n <= most;
}

static int
ip_sort_cmp(const void *a, const void *b)
{
	return prefix_cmp(&((const struct store_ip *)a)->prefix,
			  &((const struct store_ip *)b)->prefix);
}

// Two spellings of one prefix can only come from another hand than ours; one of them is enough.
static uint32_t
ip_sort(struct store_overlay *o, enum store_list list)
{
	struct store_ip *ip = o->ip[list];
	uint32_t count = o->ip_count[list], kept = 0;

	if (count == 0)
		return 0;
	qsort(ip, count, sizeof(*ip), ip_sort_cmp);
	for (uint32_t i = 0; i < count; i++) {
		if (kept > 0 && prefix_cmp(&ip[kept - 1].prefix, &ip[i].prefix) == 0)
			free(ip[i].comment);
		else
			ip[kept++] = ip[i];
	}
	o->ip_count[list] = kept;
	return count - kept;
}

// One row into memory, unsorted. False: it makes no sense, or there is no room.
static bool
ip_load(struct store *s, sqlite3_stmt *st)
{
	struct span list = column_span(st, 0), comment = column_span(st, 3);
	struct store_ip ip = {.expires_s = (uint64_t)MAX(sqlite3_column_int64(st, 2), 0),
			      .added_s = (uint64_t)MAX(sqlite3_column_int64(st, 4), 0)};
	uint32_t l = 0;

	while (l < STORE_LIST_COUNT && !span_eq(list, span_str(list_names[l])))
		l++;
	uint32_t total = s->overlay.ip_count[STORE_ALLOW] + s->overlay.ip_count[STORE_BLOCK];
	if (l == STORE_LIST_COUNT || total >= STORE_IP_MAX ||
	    !ipprefix_parse(column_span(st, 1), &ip.prefix) ||
	    !text_is_line(comment, STORE_COMMENT_MAX) || !ip_reserve(&s->overlay, l))
		return false;
	ip.comment = strndup(comment.p != NULL ? (const char *)comment.p : "", comment.n);
	if (ip.comment == NULL)
		return false;
	s->overlay.ip[l][s->overlay.ip_count[l]++] = ip;
	return true;
}

static bool
agent_load(struct store *s, sqlite3_stmt *st)
{
	sqlite3_int64 enabled = sqlite3_column_int64(st, 1), priority = sqlite3_column_int64(st, 2);
	enum agent_id a;

	if (!agent_find(column_span(st, 0), &a) || enabled < -1 || enabled > 1 || priority < 0 ||
	    priority > AGENT_COUNT)
		return false;
	s->overlay.agent[a] = (struct store_agent){(int8_t)enabled, (uint8_t)priority};
	return true;
}

// Reads all rows of a query. False: the database failed.
static bool
rows_load(struct store *s, const char *sql, bool (*load)(struct store *, sqlite3_stmt *),
	  uint32_t *odd)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
		return false;
	int rc = sqlite3_step(st);
	for (; rc == SQLITE_ROW; rc = sqlite3_step(st)) {
		if (!load(s, st))
			(*odd)++;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE;
}

static bool
all_load(struct store *s, struct diag_list *d)
{
	uint32_t odd = 0;

	overlay_clear(&s->overlay);
	if (!rows_load(s, "SELECT list, prefix, expires, comment, added FROM ip_entry", ip_load,
		       &odd) ||
	    !rows_load(s, "SELECT agent, enabled, priority FROM agent_state", agent_load, &odd))
		return false;
	for (uint32_t l = 0; l < STORE_LIST_COUNT; l++)
		odd += ip_sort(&s->overlay, l);
	if (odd > 0)
		diag_warning(d, 0, 0, "%s: %u rows make no sense and are left out", s->path, odd);
	return true;
}

// --- opening ---

enum open_result { OPEN_OK, OPEN_DAMAGED, OPEN_FAILED };

// A single value of the database's own words; -1: none.
static int
pragma_int(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;
	int v = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return -1;
	if (sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return v;
}

static bool
integrity_is_ok(sqlite3 *db)
{
	sqlite3_stmt *st;
	bool ok = false;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &st, NULL) != SQLITE_OK)
		return false;
	if (sqlite3_step(st) == SQLITE_ROW)
		ok = span_eq(column_span(st, 0), SPAN_LIT("ok"));
	sqlite3_finalize(st);
	return ok;
}

static const char schema_sql[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE ip_entry (list TEXT NOT NULL, prefix TEXT NOT NULL, expires INTEGER NOT NULL,"
	" comment TEXT NOT NULL, added INTEGER NOT NULL, PRIMARY KEY (list, prefix)) STRICT;"
	"CREATE TABLE agent_state (agent TEXT PRIMARY KEY, enabled INTEGER NOT NULL,"
	" priority INTEGER NOT NULL) STRICT;"
	"PRAGMA user_version = 1;"
	"COMMIT;";
static_assert(STORE_SCHEMA_VERSION == 1, "schema_sql sets it");

static enum open_result
open_fail(struct store *s)
{
	// Extended codes: the low byte is the kind. SQLITE_ERROR on a sound file: tables that are
	// not ours.
	int rc = sqlite3_errcode(s->db) & 0xff;

	(void)snprintf(s->why, sizeof(s->why), "%s", sqlite3_errmsg(s->db));
	return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR ? OPEN_DAMAGED
										 : OPEN_FAILED;
}

static enum open_result
open_once(struct store *s, struct diag_list *d)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

	CHECK(s->db == NULL);
	if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
		return open_fail(s);
	(void)sqlite3_busy_timeout(s->db, BUSY_MS);
	// The first read of the file: rubbish is found here.
	if (!exec(s->db, "PRAGMA journal_mode = WAL") ||
	    !exec(s->db, "PRAGMA synchronous = FULL") ||
	    !exec(s->db, "PRAGMA trusted_schema = OFF"))
		return open_fail(s);
	if (!integrity_is_ok(s->db)) {
		enum open_result r = open_fail(s);
		bool ran = sqlite3_errcode(s->db) == SQLITE_OK ||
			   sqlite3_errcode(s->db) == SQLITE_ROW ||
			   sqlite3_errcode(s->db) == SQLITE_DONE;
		if (!ran)
			return r;
		(void)snprintf(s->why, sizeof(s->why), "its integrity check fails");
		return OPEN_DAMAGED;
	}
	int version = pragma_int(s->db, "PRAGMA user_version");
	if (version == 0 && !exec(s->db, schema_sql)) {
		enum open_result r = open_fail(s);
		(void)exec(s->db, "ROLLBACK");
		return r;
	}
	if (version > STORE_SCHEMA_VERSION) {
		(void)snprintf(s->why, sizeof(s->why),
			       "it was made by a newer Postern (version %d)", version);
		return OPEN_FAILED;
	}
	return all_load(s, d) ? OPEN_OK : open_fail(s);
}

static void
db_close(struct store *s)
{
	if (s->db != NULL)
		(void)sqlite3_close_v2(s->db);
	s->db = NULL;
}

// The database and its side files get names that nobody opens; nothing is deleted.
static bool
set_aside(struct store *s, char *to, size_t to_size)
{
	static const char *const suffix[] = {"", "-wal", "-shm"};
	char stamp[32], from[PATH_SIZE + 8], side[PATH_SIZE + 80];
	time_t now = time(NULL);
	struct tm tm;

	if (gmtime_r(&now, &tm) == NULL ||
	    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm) == 0)
		return false;
	for (uint32_t n = 0; n < 100; n++) { // two within a second
		if (n == 0)
			(void)snprintf(to, to_size, "%s.damaged-%s", s->path, stamp);
		else
			(void)snprintf(to, to_size, "%s.damaged-%s-%u", s->path, stamp, n);
		struct stat st;
		if (lstat(to, &st) != 0)
			break;
	}
	for (uint32_t i = 0; i < ARRAY_LEN(suffix); i++) {
		(void)snprintf(from, sizeof(from), "%s%s", s->path, suffix[i]);
		(void)snprintf(side, sizeof(side), "%s%s", to, suffix[i]);
		if (rename(from, side) != 0 && (i == 0 || errno != ENOENT))
			return false;
	}
	return true;
}

static void
open_damaged(struct store *s, struct diag_list *d)
{
	char to[PATH_SIZE + 64], why[sizeof(s->why)];

	memcpy(why, s->why, sizeof(why));
	db_close(s);
	overlay_clear(&s->overlay);
	if (!set_aside(s, to, sizeof(to))) {
		(void)snprintf(s->why, sizeof(s->why), "damaged, and cannot be set aside: %s",
			       strerror(errno));
		diag_warning(d, 0, 0, "%s: %s. What was changed with the CLI is not in force",
			     s->path, s->why);
		return;
	}
	diag_warning(d, 0, 0,
		     "%s: damaged (%s). It is kept as %s and a new one is begun: what was "
		     "changed with the CLI is no longer in force",
		     s->path, why, to);
	if (open_once(s, d) == OPEN_OK)
		return;
	diag_warning(d, 0, 0, "%s: cannot be opened: %s. Changes are refused", s->path, s->why);
	db_close(s);
	overlay_clear(&s->overlay);
}

struct store *
store_open(const char *dir, struct diag_list *d)
{
	CHECK(dir != NULL);
	CHECK(d != NULL);
	struct store *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	overlay_clear(&s->overlay);
	int n = snprintf(s->path, sizeof(s->path), "%s/%s", dir, STORE_FILE);
	if (n < 0 || (size_t)n >= sizeof(s->path) - 48) {
		(void)snprintf(s->why, sizeof(s->why),
			       "the path of the state directory is too long");
		diag_warning(d, 0, 0, "%s. Changes with the CLI are refused", s->why);
		return s;
	}
	(void)mkdir(dir, 0750); // sqlite says why when it is not there
	enum open_result r = open_once(s, d);
	if (r == OPEN_DAMAGED) {
		open_damaged(s, d);
	} else if (r == OPEN_FAILED) {
		diag_warning(d, 0, 0,
			     "%s: cannot be opened: %s. What was changed with the CLI is not in "
			     "force, and changes are refused",
			     s->path, s->why);
		db_close(s);
		overlay_clear(&s->overlay);
	}
	return s;
}

void
store_close(struct store **s)
{
	CHECK(s != NULL);
	if (*s == NULL)
		return;
	db_close(*s);
	overlay_clear(&(*s)->overlay);
	free(*s);
	*s = NULL;
}

const struct store_overlay *
store_overlay(const struct store *s)
{
	CHECK(s != NULL);
	return &s->overlay;
}

bool
store_is_writable(const struct store *s)
{
	CHECK(s != NULL);
	return s->db != NULL;
}

// --- changes ---

static enum store_result
fail(struct store *s, struct diag_list *d)
{
	diag_error(d, 0, 0, "not stored, so not done: %s: %s", s->path,
		   s->db != NULL ? sqlite3_errmsg(s->db) : s->why);
	return STORE_FAILED;
}

static bool
bind_text(sqlite3_stmt *st, int at, const char *text)
{
	return sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT) == SQLITE_OK;
}

// Runs a prepared statement to its end and frees it.
static bool
finish(sqlite3_stmt *st)
{
	bool ok = sqlite3_step(st) == SQLITE_DONE;

	return sqlite3_finalize(st) == SQLITE_OK && ok;
}

static bool
ip_write(struct store *s, enum store_list list, const struct store_ip *ip)
{
	struct strbuf b;
	char prefix[64];
	sqlite3_stmt *st;

	strbuf_init(&b, prefix, sizeof(prefix));
	ipprefix_format(&b, &ip->prefix);
	CHECK(!b.truncated);
	if (sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO ip_entry VALUES (?, ?, ?, ?, ?)", -1,
			       &st, NULL) != SQLITE_OK)
		return false;
	bool ok = bind_text(st, 1, list_names[list]) && bind_text(st, 2, prefix) &&
		  sqlite3_bind_int64(st, 3, (sqlite3_int64)ip->expires_s) == SQLITE_OK &&
		  bind_text(st, 4, ip->comment) &&
		  sqlite3_bind_int64(st, 5, (sqlite3_int64)ip->added_s) == SQLITE_OK;
	if (!ok) {
		sqlite3_finalize(st);
		return false;
	}
	return finish(st);
}

enum store_result
store_ip_put(struct store *s, enum store_list list, const struct store_ip *ip, struct diag_list *d)
{
	CHECK(s != NULL);
	CHECK((uint32_t)list < STORE_LIST_COUNT);
	CHECK(ip != NULL);
	CHECK(ip->expires_s <= INT64_MAX);
	struct store_overlay *o = &s->overlay;
	const char *comment = ip->comment != NULL ? ip->comment : "";
	const struct store_ip *old = store_ip_find(s, list, &ip->prefix);
	struct store_ip mine = *ip;

	if (s->db == NULL)
		return fail(s, d);
	if (!text_is_line(span_str(comment), STORE_COMMENT_MAX)) {
		diag_error(d, 0, 0, "a comment is one line of at most %u bytes", STORE_COMMENT_MAX);
		return STORE_FAILED;
	}
	if (old != NULL && old->expires_s == ip->expires_s && strcmp(old->comment, comment) == 0)
		return STORE_SAME;
	if (old == NULL && o->ip_count[STORE_ALLOW] + o->ip_count[STORE_BLOCK] >= STORE_IP_MAX) {
		diag_error(d, 0, 0, "the lists have %u entries already", STORE_IP_MAX);
		return STORE_FULL;
	}
	// All that can fail comes before the commit: what is on disk is then in memory too.
	mine.comment = strdup(comment);
	if (mine.comment == NULL || !ip_reserve(o, list)) {
		free(mine.comment);
		diag_error(d, 0, 0, "no memory");
		return STORE_FAILED;
	}
	if (!ip_write(s, list, &mine)) {
		free(mine.comment);
		return fail(s, d);
	}
	ip_set(o, list, &mine);
	return STORE_OK;
}

enum store_result
store_ip_del(struct store *s, enum store_list list, const struct ipprefix *p, struct diag_list *d)
{
	CHECK(s != NULL);
	CHECK((uint32_t)list < STORE_LIST_COUNT);
	CHECK(p != NULL);
	uint32_t at = ip_lower_bound(&s->overlay, list, p);
	struct strbuf b;
	char prefix[64];
	sqlite3_stmt *st;

	if (s->db == NULL)
		return fail(s, d);
	if (!ip_is_at(&s->overlay, list, at, p))
		return STORE_SAME;
	strbuf_init(&b, prefix, sizeof(prefix));
	ipprefix_format(&b, p);
	if (sqlite3_prepare_v2(s->db, "DELETE FROM ip_entry WHERE list = ? AND prefix = ?", -1, &st,
			       NULL) != SQLITE_OK)
		return fail(s, d);
	if (!bind_text(st, 1, list_names[list]) || !bind_text(st, 2, prefix)) {
		sqlite3_finalize(st);
		return fail(s, d);
	}
	if (!finish(st))
		return fail(s, d);
	ip_unset(&s->overlay, list, at);
	return STORE_OK;
}

const struct store_ip *
store_ip_find(const struct store *s, enum store_list list, const struct ipprefix *p)
{
	CHECK(s != NULL);
	CHECK((uint32_t)list < STORE_LIST_COUNT);
	uint32_t at = ip_lower_bound(&s->overlay, list, p);

	return ip_is_at(&s->overlay, list, at, p) ? &s->overlay.ip[list][at] : NULL;
}

uint32_t
store_ip_purge(struct store *s, uint64_t now_s)
{
	CHECK(s != NULL);
	struct store_overlay *o = &s->overlay;
	uint32_t gone = 0;
	sqlite3_stmt *st;

	for (uint32_t l = 0; l < STORE_LIST_COUNT; l++) {
		for (uint32_t i = 0; i < o->ip_count[l]; i++)
			gone += o->ip[l][i].expires_s != 0 && o->ip[l][i].expires_s <= now_s;
	}
	if (gone == 0 || s->db == NULL)
		return 0;
	if (sqlite3_prepare_v2(s->db, "DELETE FROM ip_entry WHERE expires != 0 AND expires <= ?",
			       -1, &st, NULL) != SQLITE_OK)
		return 0;
	(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)MIN(now_s, (uint64_t)INT64_MAX));
	if (!finish(st))
		return 0;
	for (uint32_t l = 0; l < STORE_LIST_COUNT; l++) {
		uint32_t kept = 0;
		for (uint32_t i = 0; i < o->ip_count[l]; i++) {
			struct store_ip *ip = &o->ip[l][i];
			if (ip->expires_s != 0 && ip->expires_s <= now_s)
				free(ip->comment);
			else
				o->ip[l][kept++] = *ip;
		}
		o->ip_count[l] = kept;
	}
	return gone;
}

static bool
agents_write(struct store *s, const struct store_agent state[AGENT_COUNT])
{
	if (!exec(s->db, "DELETE FROM agent_state"))
		return false;
	for (uint32_t a = 0; a < AGENT_COUNT; a++) {
		sqlite3_stmt *st;
		if (state[a].enabled < 0 && state[a].priority == 0)
			continue;
		if (sqlite3_prepare_v2(s->db, "INSERT INTO agent_state VALUES (?, ?, ?)", -1, &st,
				       NULL) != SQLITE_OK)
			return false;
		bool ok = bind_text(st, 1, agent_name(a)) &&
			  sqlite3_bind_int(st, 2, state[a].enabled) == SQLITE_OK &&
			  sqlite3_bind_int(st, 3, state[a].priority) == SQLITE_OK;
		if (!finish(st) || !ok)
			return false;
	}
	return true;
}

enum store_result
store_agents_put(struct store *s, const struct store_agent state[AGENT_COUNT], struct diag_list *d)
{
	CHECK(s != NULL);
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		CHECK(state[a].priority <= AGENT_COUNT);
	if (s->db == NULL)
		return fail(s, d);
	if (memcmp(state, s->overlay.agent, sizeof(s->overlay.agent)) == 0)
		return STORE_SAME;
	if (!exec(s->db, "BEGIN IMMEDIATE"))
		return fail(s, d);
	if (!agents_write(s, state) || !exec(s->db, "COMMIT")) {
		enum store_result r = fail(s, d);
		(void)exec(s->db, "ROLLBACK");
		return r;
	}
	memcpy(s->overlay.agent, state, sizeof(s->overlay.agent));
	return STORE_OK;
}
