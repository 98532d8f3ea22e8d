// SPDX-License-Identifier: Apache-2.0
// match: see the header.
//
// Hyperscan takes stream state from an allocator that is global to the process. Ours hands out the
// block that match_open has just taken from the worker's pool and nothing else, so a stream that is
// opened anywhere but in match_open gets no memory. The pools and that block are the only variables
// of this directory that are not reached through an argument: the allocator takes none.
#include "scanner/match.h"

#include <hs_runtime.h>
#include <stdlib.h>

#include "control/base/pool.h"
#include "control/base/strbuf.h"

#define MATCHER_MAGIC 0x3148434du
#define MATCH_STREAM_MAGIC 0x3153544du
#define MATCH_WORKERS_MAX POLICY_CORES_MAX

struct matcher {
	uint32_t magic;
	uint32_t workers;
	hs_database_t *db[MATCH_SET_COUNT]; // NULL: empty rule set
	hs_scratch_t **scratch;             // [workers]; NULL when both sets are empty
};

struct match_stream {
	uint32_t magic;
	uint32_t worker; // whose pool it is from
	bool failed;     // Hyperscan refused a call: nothing of this text counts any more
	hs_stream_t *hs; // points at state
	hs_scratch_t *scratch;
	match_fn fn; // of the call that is running
	void *ctx;
	uint8_t state[MATCH_STREAM_BYTES_MAX] __attribute__((aligned(CACHE_LINE)));
};

struct match_worker {
	bool is_up;
	struct pool pool;
} __attribute__((aligned(CACHE_LINE)));

static struct match_worker match_worker[MATCH_WORKERS_MAX]; // each touched by its worker only

static _Thread_local struct {
	void *p; // for the allocator, during match_open only
	size_t size;
} block_given;

static void *
block_get(size_t size)
{
	void *block = block_given.p;

	if (size > block_given.size)
		return NULL;
	block_given.p = NULL;
	block_given.size = 0;
	return block;
}

// The block belongs to a match_stream, which match_close gives back.
static void
block_put(void *block)
{
	(void)block;
}

bool
match_worker_init(uint32_t worker, struct mem_source *m, uint32_t streams)
{
	CHECK(worker < MATCH_WORKERS_MAX);
	struct match_worker *t = &match_worker[worker];

	CHECK(m != NULL);
	CHECK(streams > 0);
	CHECK(!t->is_up);
	if (hs_set_stream_allocator(block_get, block_put) != HS_SUCCESS)
		return false;
	if (!pool_init(&t->pool, m, "match streams", sizeof(struct match_stream), streams))
		return false;
	t->is_up = true;
	return true;
}

void
match_worker_fini(uint32_t worker)
{
	CHECK(worker < MATCH_WORKERS_MAX);
	struct match_worker *t = &match_worker[worker];

	CHECK(t->is_up);
	CHECK(t->pool.used == 0);
	pool_fini(&t->pool);
	t->is_up = false;
}

// --- the matcher -----------------------------------------------------------------------------

static const char *
hs_text(hs_error_t rc)
{
	switch (rc) {
	case HS_NOMEM:
		return "out of memory";
	case HS_INVALID:
		return "damaged";
	case HS_DB_VERSION_ERROR:
		return "made by another version of Hyperscan";
	case HS_DB_PLATFORM_ERROR:
		return "made for another kind of processor";
	case HS_DB_MODE_ERROR:
		return "not made for streams";
	case HS_ARCH_ERROR:
		return "this processor lacks SSSE3";
	case HS_BAD_ALIGN:
		return "not aligned";
	default:
		return "refused by Hyperscan";
	}
}

static bool
db_load(struct matcher *m, enum match_set set, const uint8_t *bytes, uint32_t n, const char *name,
	struct strbuf *why)
{
	size_t stream_size = 0;
	hs_error_t rc;

	CHECK(set < MATCH_SET_COUNT);
	CHECK(m->db[set] == NULL);
	if (n == 0)
		return true;
	rc = hs_deserialize_database((const char *)bytes, n, &m->db[set]);
	if (rc == HS_SUCCESS)
		rc = hs_stream_size(m->db[set], &stream_size);
	if (rc != HS_SUCCESS) {
		strbuf_addf(why, "%s: database %s (%d)", name, hs_text(rc), rc);
		return false;
	}
	if (stream_size > MATCH_STREAM_BYTES_MAX) {
		strbuf_addf(why, "%s: %zu bytes of state a stream, the limit is %d", name,
			    stream_size, MATCH_STREAM_BYTES_MAX);
		return false;
	}
	return true;
}

// One scratch that suits both databases, and a clone of it for each further worker.
static bool
scratch_load(struct matcher *m, struct strbuf *why)
{
	hs_error_t rc = HS_SUCCESS;

	m->scratch = calloc(m->workers, sizeof(*m->scratch));
	if (m->scratch == NULL)
		rc = HS_NOMEM;
	for (uint32_t i = 0; i < MATCH_SET_COUNT && rc == HS_SUCCESS; i++)
		if (m->db[i] != NULL)
			rc = hs_alloc_scratch(m->db[i], &m->scratch[0]);
	for (uint32_t i = 1; i < m->workers && rc == HS_SUCCESS && m->scratch[0] != NULL; i++)
		rc = hs_clone_scratch(m->scratch[0], &m->scratch[i]);
	if (rc != HS_SUCCESS)
		strbuf_addf(why, "scratch: %s (%d)", hs_text(rc), rc);
	return rc == HS_SUCCESS;
}

struct matcher *
matcher_open(const struct policy_view *v, uint32_t workers, struct strbuf *why)
{
	struct matcher *m;

	CHECK(v != NULL && why != NULL);
	CHECK(workers > 0 && workers <= MATCH_WORKERS_MAX);
	if (hs_valid_platform() != HS_SUCCESS) {
		strbuf_add_str(why, hs_text(HS_ARCH_ERROR));
		return NULL;
	}
	m = calloc(1, sizeof(*m));
	if (m == NULL) {
		strbuf_add_str(why, "out of memory");
		return NULL;
	}
	m->magic = MATCHER_MAGIC;
	m->workers = workers;
	if (!db_load(m, MATCH_CONTENT, v->db_content, v->count[POLICY_DB_CONTENT], "phrases",
		     why) ||
	    !db_load(m, MATCH_NAMES, v->db_names, v->count[POLICY_DB_NAMES], "attachment names",
		     why) ||
	    !scratch_load(m, why))
		matcher_close(&m);
	return m;
}

void
matcher_close(struct matcher **mp)
{
	struct matcher *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	OBJ_CHECK(m, MATCHER_MAGIC);
	// What cannot be freed here was never ours: Hyperscan only refuses foreign pointers.
	for (uint32_t i = 0; m->scratch != NULL && i < m->workers; i++)
		CHECK(hs_free_scratch(m->scratch[i]) == HS_SUCCESS);
	for (uint32_t i = 0; i < MATCH_SET_COUNT; i++)
		CHECK(hs_free_database(m->db[i]) == HS_SUCCESS);
	free(m->scratch);
	m->magic = 0;
	free(m);
}

// --- streams ---------------------------------------------------------------------------------

static int
stream_on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
		void *ctx)
{
	struct match_stream *s = ctx;

	(void)from;
	(void)flags;
	return s->fn(s->ctx, id, to) ? 1 : 0;
}

// A callback that wanted to stop is no error; everything else that Hyperscan says is.
static enum match_result
stream_result(struct match_stream *s, hs_error_t rc)
{
	if (likely(rc == HS_SUCCESS || rc == HS_SCAN_TERMINATED))
		return MATCH_OK;
	s->failed = true;
	return MATCH_ERROR;
}

enum match_result
match_open(struct matcher *m, uint32_t worker, enum match_set set, struct match_stream **out)
{
	struct match_worker *t = &match_worker[worker];
	struct match_stream *s;
	hs_error_t rc;

	OBJ_CHECK(m, MATCHER_MAGIC);
	CHECK(worker < m->workers);
	CHECK(set < MATCH_SET_COUNT);
	CHECK(out != NULL);
	*out = NULL;
	if (m->db[set] == NULL)
		return MATCH_OK;
	CHECK(t->is_up);
	s = pool_get(&t->pool);
	if (s == NULL)
		return MATCH_ERROR;
	block_given.p = s->state;
	block_given.size = sizeof(s->state);
	rc = hs_open_stream(m->db[set], 0, &s->hs);
	block_given.p = NULL;
	block_given.size = 0;
	s->magic = MATCH_STREAM_MAGIC;
	if (rc != HS_SUCCESS) {
		pool_put(&t->pool, s);
		return MATCH_ERROR;
	}
	CHECK((void *)s->hs == (void *)s->state);
	s->worker = worker;
	s->failed = false;
	s->scratch = m->scratch[worker];
	s->fn = NULL;
	s->ctx = NULL;
	*out = s;
	return MATCH_OK;
}

enum match_result
match_feed(struct match_stream *s, struct span bytes, match_fn fn, void *ctx)
{
	enum match_result r;

	if (s == NULL)
		return MATCH_OK;
	OBJ_CHECK(s, MATCH_STREAM_MAGIC);
	CHECK(fn != NULL);
	CHECK(s->fn == NULL); // not from within a callback: the scratch is in use there
	if (bytes.n == 0)
		return MATCH_OK;
	if (s->failed)
		return MATCH_ERROR;
	s->fn = fn;
	s->ctx = ctx;
	r = stream_result(s, hs_scan_stream(s->hs, (const char *)bytes.p, bytes.n, 0, s->scratch,
					    stream_on_match, s));
	s->fn = NULL;
	return r;
}

enum match_result
match_reset(struct match_stream *s, match_fn fn, void *ctx)
{
	enum match_result r;
	bool failed;

	if (s == NULL)
		return MATCH_OK;
	OBJ_CHECK(s, MATCH_STREAM_MAGIC);
	CHECK(fn != NULL);
	CHECK(s->fn == NULL);
	failed = s->failed;
	s->failed = false;
	s->fn = fn;
	s->ctx = ctx;
	r = stream_result(s, hs_reset_stream(s->hs, 0, s->scratch, stream_on_match, s));
	s->fn = NULL;
	return failed ? MATCH_ERROR : r;
}

void
match_close(struct match_stream **sp)
{
	struct match_stream *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	OBJ_CHECK(s, MATCH_STREAM_MAGIC);
	CHECK(s->fn == NULL);
	CHECK(match_worker[s->worker].is_up);
	// Without scratch and callback nothing is reported and nothing can fail but for a bad
	// pointer.
	CHECK(hs_close_stream(s->hs, NULL, NULL, NULL) == HS_SUCCESS);
	s->hs = NULL;
	pool_put(&match_worker[s->worker].pool, s);
}
