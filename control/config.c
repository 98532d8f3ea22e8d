// SPDX-License-Identifier: Apache-2.0
// config: opens postern.yaml, owns what the reader makes of it. See config.h and config_read.h.
#include "control/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/config_read.h"
#include "control/config_value.h"

// --- memory ---

#define BLOCK_SIZE 65536u // texts of the configuration are a few hundred bytes at most

struct config_arena {
	struct config_arena *next;
	uint32_t used;
	char mem[BLOCK_SIZE];
};

const char *
reader_copy(struct reader *r, struct span s, bool lower)
{
	struct config_arena *a = r->c->arena;

	CHECK(s.n < BLOCK_SIZE);
	if (a == NULL || BLOCK_SIZE - a->used < s.n + 1) {
		a = malloc(sizeof(*a));
		if (a == NULL) {
			r->no_memory = true;
			return NULL;
		}
		a->next = r->c->arena;
		a->used = 0;
		r->c->arena = a;
	}
	char *out = a->mem + a->used;
	for (uint32_t i = 0; i < s.n; i++)
		out[i] = (char)(lower ? ascii_lower(s.p[i]) : s.p[i]);
	out[s.n] = '\0';
	a->used += s.n + 1;
	CHECK(a->used <= BLOCK_SIZE);
	return out;
}

// Room for one more row. NULL: none, and `full` or `no_memory` is set.
static void *
rows_grow(struct reader *r, void *rows, size_t size, uint32_t count, uint32_t *cap)
{
	if (count < *cap)
		return rows;
	uint32_t more = *cap == 0 ? 8 : 2 * *cap;
	void *grown = realloc(rows, more * size);
	if (grown == NULL) {
		r->no_memory = true;
		return NULL;
	}
	*cap = more;
	return grown;
}

#define X(field, type, most)                                                                       \
	type *reader_add_##field(struct reader *r, yaml_ref node)                                  \
	{                                                                                          \
		struct config *c = r->c;                                                           \
		struct yaml_place at = {0};                                                        \
		if (node != YAML_REF_NONE)                                                         \
			at = yaml_tree_place(r->t, node);                                          \
		if (c->field##_count >= (most)) {                                                  \
			diag_error(r->d, at.line, at.column, "%s: more than %u entries", r->path,  \
				   (uint32_t)(most));                                              \
			r->full = true;                                                            \
			return NULL;                                                               \
		}                                                                                  \
		type *rows =                                                                       \
			rows_grow(r, c->field, sizeof(type), c->field##_count, &c->field##_cap);   \
		if (rows == NULL)                                                                  \
			return NULL;                                                               \
		c->field = rows;                                                                   \
		type *row = &rows[c->field##_count++];                                             \
		memset(row, 0, sizeof(*row));                                                      \
		row->line = at.line;                                                               \
		row->column = at.column;                                                           \
		return row;                                                                        \
	}
CONFIG_LISTS(X)
#undef X

void
config_close(struct config **c)
{
	CHECK(c != NULL);
	if (*c == NULL)
		return;
	while ((*c)->arena != NULL) {
		struct config_arena *next = (*c)->arena->next;
		free((*c)->arena);
		(*c)->arena = next;
	}
#define X(field, type, most) free((*c)->field);
	CONFIG_LISTS(X)
#undef X
	free((*c)->file);
	free((*c)->text);
	free(*c);
	*c = NULL;
}

// --- defaults ---

// What Exchange's Attachment Filtering agent blocks when nobody configured it.
static const char *const default_types[] = {
	"application/hta",          "application/javascript",
	"application/msaccess",     "application/prg",
	"application/x-javascript", "application/x-msdownload",
	"message/partial",          "text/javascript",
	"text/scriptlet",           "application/x-internet-signup",
};
static const char *const default_extensions[] = {
	"ade",  "adp",     "app", "asx",    "bas",  "bat",  "chm", "cmd", "com", "cpl",
	"crt",  "csh",     "exe", "fxp",    "hlp",  "hta",  "inf", "ins", "isp", "js",
	"jse",  "ksh",     "lnk", "mda",    "mdb",  "mde",  "mdt", "mdw", "mdz", "msc",
	"msi",  "msp",     "mst", "ops",    "pcd",  "pif",  "prf", "prg", "ps1", "ps1xml",
	"ps11", "ps11xml", "ps2", "ps2xml", "psc1", "psc2", "reg", "scf", "scr", "sct",
	"shb",  "shs",     "url", "vb",     "vbe",  "vbs",  "wsc", "wsf", "wsh", "xnk",
};

static void
defaults_begin(struct config *c)
{
	for (uint32_t i = 0; i < SETTING_COUNT; i++)
		c->setting[i] = schema_default(i);
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		c->agent_enabled[a] = true;
}

static void
default_names(struct reader *r)
{
	for (uint32_t i = 0; i < ARRAY_LEN(default_extensions); i++) {
		char mem[16];
		struct strbuf b;
		strbuf_init(&b, mem, sizeof(mem));
		strbuf_addf(&b, "*.%s", default_extensions[i]);
		CHECK(!b.truncated);
		const char *text = reader_copy(r, strbuf_span(&b), false);
		struct config_word *row = text != NULL ? reader_add_names(r, YAML_REF_NONE) : NULL;
		if (row != NULL)
			row->text = text;
	}
}

static void
default_content_types(struct reader *r)
{
	for (uint32_t i = 0; i < ARRAY_LEN(default_types); i++) {
		struct config_word *row = reader_add_types(r, YAML_REF_NONE);
		if (row != NULL)
			row->text = default_types[i];
	}
}

// Agents that agents.order does not name come after those that it does, by their default priority.
static void
defaults_order(struct reader *r)
{
	while (r->ordered < AGENT_COUNT) {
		uint32_t best = AGENT_COUNT;
		for (uint32_t a = 0; a < AGENT_COUNT; a++) {
			if (r->agent_place[a].line == 0 &&
			    (best == AGENT_COUNT ||
			     agent_default_place(a) < agent_default_place(best)))
				best = a;
		}
		CHECK(best < AGENT_COUNT);
		r->agent_place[best].line = UINT32_MAX; // placed, though not by the file
		r->c->agent_order[r->ordered++] = (uint8_t)best;
	}
}

// --- reading ---

static void
read_tree(struct reader *r)
{
	if (!read_root(r, yaml_tree_root(r->t)))
		return;
	defaults_order(r);
	if (!r->has_names)
		default_names(r);
	if (!r->has_types)
		default_content_types(r);
	if (!r->no_memory)
		check_config(r);
	if (r->no_memory)
		diag_error(r->d, 0, 0, "no memory");
}

// Takes `text` (malloc'ed) over.
static struct config *
config_make(const char *name, char *text, size_t size, uint64_t now_s, struct diag_list *d)
{
	struct config *c = calloc(1, sizeof(*c));
	struct yaml_tree *t = NULL;

	CHECK(text != NULL);
	if (c == NULL) {
		free(text);
		diag_error(d, 0, 0, "no memory");
		return NULL;
	}
	c->text = text;
	c->text_size = size;
	c->file = strdup(name);
	if (c->file == NULL)
		diag_error(d, 0, 0, "no memory");
	else
		t = yaml_tree_open(text, size, d);
	if (t != NULL) {
		struct reader r = {.t = t, .c = c, .d = d, .now_s = now_s};
		defaults_begin(c);
		read_tree(&r);
		yaml_tree_close(&t);
	}
	diag_sort(d);
	if (diag_has_error(d))
		config_close(&c);
	return c;
}

struct config *
config_load_text(const char *name, const char *text, size_t size, uint64_t now_s,
		 struct diag_list *d)
{
	CHECK(name != NULL);
	CHECK(text != NULL || size == 0);
	CHECK(d != NULL);
	diag_reset(d);
	diag_set_file(d, name);
	if (size > CONFIG_FILE_MAX) {
		diag_error(d, 0, 0, "larger than %u MiB", CONFIG_FILE_MAX >> 20);
		return NULL;
	}
	char *copy = malloc(size + 1);
	if (copy == NULL) {
		diag_error(d, 0, 0, "no memory");
		return NULL;
	}
	if (size > 0)
		memcpy(copy, text, size);
	copy[size] = '\0';
	return config_make(name, copy, size, now_s, d);
}

static bool
reader_may(const struct stat *st, uid_t reader)
{
	return reader == 0 || reader == geteuid() || st->st_uid == reader ||
	       (st->st_mode & S_IROTH) != 0;
}

// All of a file; NULL: could not, and that has been said. A device or a pipe is not a configuration
// file: reading one could block or never end. What is found is told to `reader`, line by line, so
// posternd's rights must not open what theirs do not.
static char *
file_read(const char *file, uid_t reader, size_t *size, struct diag_list *d)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		diag_error(d, 0, 0, "cannot be read: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	char *text = NULL;
	size_t n = 0;
	if (!S_ISREG(st.st_mode))
		diag_error(d, 0, 0, "is not a file");
	else if (!reader_may(&st, reader))
		diag_error(d, 0, 0,
			   "cannot be read: it is neither yours nor readable for everybody");
	else if (st.st_size > CONFIG_FILE_MAX)
		diag_error(d, 0, 0, "larger than %u MiB", CONFIG_FILE_MAX >> 20);
	else if ((text = malloc((size_t)st.st_size + 1)) == NULL)
		diag_error(d, 0, 0, "no memory");
	while (text != NULL && n < (size_t)st.st_size) {
		ssize_t got = read(fd, text + n, (size_t)st.st_size - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			diag_error(d, 0, 0, "cannot be read: %s", strerror(errno));
			free(text);
			text = NULL;
		}
		if (got <= 0)
			break; // or it became shorter meanwhile
		n += (size_t)got;
	}
	close(fd);
	if (text != NULL)
		text[n] = '\0';
	*size = n;
	return text;
}

struct config *
config_load(const char *file, uint64_t now_s, struct diag_list *d)
{
	return config_load_for(file, geteuid(), now_s, d);
}

struct config *
config_load_for(const char *file, uid_t reader, uint64_t now_s, struct diag_list *d)
{
	size_t size;

	CHECK(file != NULL);
	CHECK(d != NULL);
	diag_reset(d);
	diag_set_file(d, file);
	char *text = file_read(file, reader, &size, d);
	return text == NULL ? NULL : config_make(file, text, size, now_s, d);
}

void
config_check_cores(const struct config *c, uint32_t cpus, struct diag_list *d)
{
	CHECK(c != NULL);
	CHECK(d != NULL);
	for (uint32_t i = 0; cpus > 0 && i < c->cores_count; i++) {
		if (c->cores[i].cpu >= cpus)
			diag_warning(d, c->cores[i].line, c->cores[i].column,
				     "machine.cores: there is no core %u, this machine has 0 to %u",
				     c->cores[i].cpu, cpus - 1);
	}
	diag_sort(d);
}

// --- time ---

bool
config_time_parse(struct span s, uint64_t *out)
{
	return value_time(s, out);
}

void
config_time_format(struct strbuf *out, uint64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL) {
		strbuf_add_str(out, "?");
		return;
	}
	strbuf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}
