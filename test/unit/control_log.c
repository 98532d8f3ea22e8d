// SPDX-License-Identifier: Apache-2.0
// Unit tests of the message log: the line of a record, the writer when disks and crashes get in its
// way, and reading it back for `postern log tail`.
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/log_tail.h"
#include "control/log_writer.h"

static const char *const contract_keys[] = {
	"time",  "session", "client", "direction", "helo",     "tls",   "auth",  "from", "rcpt",
	"event", "agent",   "action", "rule",      "evidence", "reply", "bytes", "us"};

static json_t *
line_of(const struct logrec *r)
{
	static char mem[LOG_LINE_MAX];
	struct strbuf b;

	strbuf_init(&b, mem, sizeof(mem));
	log_line_format(&b, r);
	cr_assert(!b.truncated);
	cr_assert_eq(mem[b.len - 1], '\n');
	cr_assert_eq(memchr(mem, '\n', b.len), mem + b.len - 1, "one record is one line");
	json_t *o = json_loadb(mem, b.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	cr_assert_not_null(o, "not JSON: %s", mem);
	return o;
}

static const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	cr_assert_not_null(s, "%s is not a text", key);
	return s;
}

static struct logrec
record_example(void)
{
	struct logrec r;

	logrec_init(&r);
	r.kind = LOGREC_MESSAGE;
	r.time_us = 1767225600000001; // 2026-01-01T00:00:00.000001Z
	r.session_id = 0xabcdef;
	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.7"), &r.client));
	r.client_port = 40000;
	r.direction = DIRECTION_OUTBOUND;
	r.event = EVENT_END_OF_DATA;
	r.agent = AGENT_content_filter;
	r.action = ACTION_REJECT_MESSAGE;
	r.bytes = 1234567890123;
	r.us = 77;
	r.worker = 3;
	r.scl_plus_1 = 8;
	r.reply_code = 550;
	logrec_set(&r, LOGREC_HELO, SPAN_LIT("mail.example"));
	logrec_set(&r, LOGREC_FROM, SPAN_LIT("a@b.example"));
	logrec_set(&r, LOGREC_RULE, SPAN_LIT("BadWord phrase (line 41)"));
	logrec_set(&r, LOGREC_REPLY, SPAN_LIT("5.7.1 no"));
	return r;
}

Test(control_log, line_has_the_contract)
{
	struct logrec r = record_example();
	json_t *o = line_of(&r);
	void *it = json_object_iter(o);

	// jansson keeps the order of insertion, so this also proves the order of the keys.
	for (uint32_t i = 0; i < ARRAY_LEN(contract_keys); i++, it = json_object_iter_next(o, it))
		cr_assert_str_eq(json_object_iter_key(it), contract_keys[i]);
	cr_assert_str_eq(text_of(o, "time"), "2026-01-01T00:00:00.000001Z");
	cr_assert_str_eq(text_of(o, "session"), "0000000000abcdef");
	cr_assert_str_eq(text_of(o, "client"), "192.0.2.7:40000");
	cr_assert_str_eq(text_of(o, "direction"), direction_name(DIRECTION_OUTBOUND));
	cr_assert_str_eq(text_of(o, "helo"), "mail.example");
	cr_assert_str_eq(text_of(o, "tls"), "");
	cr_assert_str_eq(text_of(o, "from"), "a@b.example");
	cr_assert_str_eq(text_of(o, "event"), "OnEndOfData");
	cr_assert_str_eq(text_of(o, "agent"), "Content Filter");
	cr_assert_str_eq(text_of(o, "action"), "RejectMessage");
	cr_assert_str_eq(text_of(o, "rule"), "BadWord phrase (line 41)");
	cr_assert_str_eq(text_of(o, "reply"), "550 5.7.1 no");
	cr_assert_eq(json_integer_value(json_object_get(o, "bytes")), 1234567890123);
	cr_assert_eq(json_integer_value(json_object_get(o, "us")), 77);
	cr_assert_eq(json_integer_value(json_object_get(o, "worker")), 3);
	cr_assert_eq(json_integer_value(json_object_get(o, "scl")), 7);
	cr_assert_null(json_object_get(o, "reason"));
	cr_assert_null(json_object_get(o, "cut"));
	json_decref(o);
}

Test(control_log, ipv6_client_is_in_brackets)
{
	struct logrec r = record_example();

	cr_assert(ipaddr_parse(SPAN_LIT("2001:DB8:0::7"), &r.client));
	json_t *o = line_of(&r);
	cr_assert_str_eq(text_of(o, "client"), "[2001:db8::7]:40000");
	json_decref(o);
}

Test(control_log, unknown_is_empty_and_present)
{
	struct logrec r;

	logrec_init(&r);
	r.reason = DISCONNECT_TIMEOUT;
	json_t *o = line_of(&r);
	for (uint32_t i = 0; i < ARRAY_LEN(contract_keys); i++)
		cr_assert_not_null(json_object_get(o, contract_keys[i]), "%s", contract_keys[i]);
	cr_assert_str_eq(text_of(o, "client"), "");
	cr_assert_str_eq(text_of(o, "agent"), "");
	cr_assert_str_eq(text_of(o, "reply"), "");
	cr_assert_str_eq(text_of(o, "reason"), "Timeout");
	cr_assert_eq(json_integer_value(json_object_get(o, "bytes")), 0);
	cr_assert_null(json_object_get(o, "scl"));
	json_decref(o);
}

Test(control_log, reply_code_is_not_doubled)
{
	struct logrec r;

	logrec_init(&r);
	r.reply_code = 421;
	logrec_set(&r, LOGREC_REPLY, SPAN_LIT("421 4.3.2 bye"));
	json_t *o = line_of(&r);
	cr_assert_str_eq(text_of(o, "reply"), "421 4.3.2 bye");
	json_decref(o);
}

// Each byte of a client comes back as the Latin-1 character of its value, alone and between others.
Test(control_log, any_byte_survives)
{
	for (uint32_t c = 0; c < 256; c++) {
		uint8_t text[3] = {'<', (uint8_t)c, '>'};
		struct logrec r;
		logrec_init(&r);
		logrec_set(&r, LOGREC_HELO, span_of(text, sizeof(text)));
		json_t *o = line_of(&r), *v = json_object_get(o, "helo");
		const uint8_t *s = (const uint8_t *)json_string_value(v);
		if (c < 0x80) {
			cr_assert_eq(json_string_length(v), 3);
			cr_assert_eq(s[1], c);
		} else {
			cr_assert_eq(json_string_length(v), 4, "byte %02x", c);
			cr_assert_eq(s[1], 0xc0 | c >> 6);
			cr_assert_eq(s[2], 0x80 | (c & 0x3f));
		}
		json_decref(o);
	}
}

Test(control_log, utf8_stays_and_bad_utf8_is_escaped)
{
	static const struct {
		const char *in, *json;
	} rows[] = {
		{"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
		{"\xe2\x82\xac", "\"\xe2\x82\xac\""},
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
		{"\xc3", "\"\\u00c3\""},                                  // cut off
		{"\xc0\x80", "\"\\u00c0\\u0080\""},                       // overlong
		{"\xe0\x80\xaf", "\"\\u00e0\\u0080\\u00af\""},            // overlong
		{"\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\""},            // surrogate
		{"\xf4\x90\x80\x80", "\"\\u00f4\\u0090\\u0080\\u0080\""}, // above U+10FFFF
		{"\xc2\x9b"
		 "31m",
		 "\"\\u009b31m\""}, // C1 CSI: terminals obey it
		{"\x1b[31m\"\\\r\n\x7f", "\"\\u001b[31m\\\"\\\\\\u000d\\u000a\\u007f\""},
	};
	char mem[256];
	struct strbuf b;

	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		strbuf_init(&b, mem, sizeof(mem));
		log_json_string(&b, span_str(rows[i].in));
		cr_assert_str_eq(mem, rows[i].json);
	}
}

Test(control_log, longest_record_fits)
{
	uint8_t text[LOGREC_SIZE];
	struct logrec r;

	memset(text, 0xff, sizeof(text));
	memset(&r, 0xff, sizeof(r));
	logrec_init(&r);
	r.time_us = UINT64_MAX;
	r.session_id = r.bytes = UINT64_MAX;
	r.us = UINT32_MAX;
	r.client_port = UINT16_MAX;
	memset(&r.client, 0xfe, sizeof(r.client));
	r.reply_code = UINT16_MAX;
	r.reason = DISCONNECT_DROPPED_SESSION;
	r.scl_plus_1 = 10;
	for (uint32_t f = 0; f < LOGREC_FIELD_COUNT; f++)
		logrec_set(&r, f, span_of(text, sizeof(text)));
	cr_assert(logrec_is_valid(&r));
	json_t *o = line_of(&r);
	cr_assert_eq(json_array_size(json_object_get(o, "cut")), LOGREC_FIELD_COUNT);
	json_decref(o);
}

// --- the writer ---

static char dir[64];
static char log_path[96];

static void
make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/control_log.XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(log_path, sizeof(log_path), "%s/message.log", dir);
}

static void
remove_dir(void)
{
	char other[128];

	(void)unlink(log_path);
	snprintf(other, sizeof(other), "%s.1", log_path);
	(void)unlink(other);
	(void)rmdir(dir);
}

static struct log_writer *
open_log(const char *path)
{
	char reason[256];
	struct strbuf why;

	strbuf_init(&why, reason, sizeof(reason));
	struct log_writer *w = log_writer_open(path, &why);
	cr_assert_not_null(w, "%s", reason);
	return w;
}

// Every line of the file is JSON; returns how many there are.
static uint32_t
count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[LOG_LINE_MAX];
	uint32_t n = 0;

	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		json_t *o = json_loads(line, 0, NULL);
		cr_assert_not_null(o, "line %u: %s", n, line);
		json_decref(o);
		n++;
	}
	fclose(f);
	return n;
}

Test(control_log, writer_appends, .init = make_dir, .fini = remove_dir)
{
	struct logrec r = record_example();

	for (uint32_t i = 0; i < 3; i++) {
		struct log_writer *w = open_log(log_path);
		log_writer_put(w, &r);
		cr_assert_eq(log_writer_flush(w), 0);
		cr_assert_eq(log_writer_stats(w).waiting_bytes, 0);
		log_writer_put(w, &r); // closing flushes
		log_writer_close(&w);
		cr_assert_null(w);
	}
	cr_assert_eq(count_lines(log_path), 6);
}

Test(control_log, writer_refuses_what_it_cannot_write)
{
	char reason[256];
	struct strbuf why;

	strbuf_init(&why, reason, sizeof(reason));
	cr_assert_null(log_writer_open("/proc/no/such/place", &why));
	cr_assert(why.len > 0);
}

Test(control_log, torn_line_of_a_crash_stands_alone, .init = make_dir, .fini = remove_dir)
{
	FILE *f = fopen(log_path, "w");
	struct logrec r = record_example();
	char line[LOG_LINE_MAX];

	fputs("{\"time\":\"2026", f);
	fclose(f);
	struct log_writer *w = open_log(log_path);
	log_writer_put(w, &r);
	log_writer_close(&w);
	f = fopen(log_path, "r");
	cr_assert_not_null(fgets(line, sizeof(line), f));
	cr_assert_str_eq(line, "{\"time\":\"2026\n");
	cr_assert_not_null(fgets(line, sizeof(line), f));
	json_t *o = json_loads(line, 0, NULL);
	cr_assert_not_null(o);
	json_decref(o);
	fclose(f);
}

Test(control_log, full_disk_counts_and_goes_on)
{
	struct log_writer *w = open_log("/dev/full");
	struct logrec r = record_example();

	for (uint32_t i = 0; i < 10000; i++)
		log_writer_put(w, &r);
	cr_assert_eq(log_writer_flush(w), -ENOSPC);
	struct log_stats s = log_writer_stats(w);
	cr_assert_eq(s.lines, 10000);
	cr_assert(s.lost > 0 && s.lost < 10000, "%lu", (unsigned long)s.lost);
	cr_assert(s.errors > 0);
	cr_assert(s.waiting_bytes > LOG_BUFFER_BYTES - LOG_LINE_MAX);
	log_writer_close(&w);
}

// A file size limit stops a write in the middle of a line, as a full disk does.
Test(control_log, partial_line_is_taken_back, .init = make_dir, .fini = remove_dir)
{
	struct rlimit limit, before;
	struct logrec r = record_example();
	struct stat st;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 1000;
	struct log_writer *w = open_log(log_path);
	for (uint32_t i = 0; i < 10; i++)
		log_writer_put(w, &r);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int rc = log_writer_flush(w);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	cr_assert_eq(rc, -EFBIG);
	cr_assert_eq(stat(log_path, &st), 0);
	cr_assert(st.st_size > 0 && st.st_size < 1000);
	cr_assert(count_lines(log_path) > 0); // whole lines only
	cr_assert_eq(log_writer_flush(w), 0);
	cr_assert_eq(count_lines(log_path), 10);
	log_writer_close(&w);
}

// --- reading ---

struct got {
	uint32_t count;
	char last[LOG_LINE_MAX];
};

static void
got_line(void *ctx, struct span line)
{
	struct got *g = ctx;

	g->count++;
	cr_assert(line.n < sizeof(g->last));
	memcpy(g->last, line.p, line.n);
	g->last[line.n] = '\0';
}

static void
put_numbers(struct log_writer *w, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i <= to; i++) {
		struct logrec r = record_example();
		r.session_id = i;
		log_writer_put(w, &r);
	}
	cr_assert_eq(log_writer_flush(w), 0);
}

static void
assert_last(const struct got *g, uint32_t session)
{
	char want[48];

	snprintf(want, sizeof(want), "\"session\":\"%016x\"", session);
	cr_assert_not_null(strstr(g->last, want), "%s", g->last);
}

Test(control_log, tail_gives_the_last_lines, .init = make_dir, .fini = remove_dir)
{
	struct log_writer *w = open_log(log_path);
	int fd = log_writer_read_fd(w, false);
	struct got g = {0};
	struct log_place p;

	cr_assert(log_tail_place(fd, 5, &p)); // an empty file
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 0);
	put_numbers(w, 1, 1000); // several blocks
	for (uint32_t n = 0; n <= 1001; n += 77) {
		g.count = 0;
		cr_assert(log_tail_place(fd, n, &p));
		cr_assert_eq(log_tail_read(fd, &p, got_line, &g), MIN(n, 1000u));
		if (n > 0)
			assert_last(&g, 1000);
	}
	put_numbers(w, 1001, 1002); // from the place on only what is new
	g.count = 0;
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 2);
	assert_last(&g, 1002);
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 0);
	log_writer_close(&w);
}

Test(control_log, half_lines_wait, .init = make_dir, .fini = remove_dir)
{
	int fd = open(log_path, O_RDWR | O_CREAT | O_APPEND, 0600);
	struct got g = {0};
	struct log_place p;

	cr_assert_eq(write(fd, "one\ntw", 6), 6);
	cr_assert(log_tail_begin(fd, &p));
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 1);
	cr_assert_str_eq(g.last, "one");
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 0);
	cr_assert_eq(write(fd, "o\n", 2), 2);
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 1);
	cr_assert_str_eq(g.last, "two");
	cr_assert_eq(ftruncate(fd, 0), 0); // cut short: from the start
	cr_assert_eq(write(fd, "x\n", 2), 2);
	cr_assert_eq(log_tail_read(fd, &p, got_line, &g), 1);
	cr_assert_str_eq(g.last, "x");
	close(fd);
}

Test(control_log, rotation_loses_no_line, .init = make_dir, .fini = remove_dir)
{
	struct log_writer *w = open_log(log_path);
	char other[128], reason[256];
	struct strbuf why;
	struct got g = {0};
	struct log_place p;

	cr_assert_eq(log_writer_read_fd(w, true), -1);
	put_numbers(w, 1, 3);
	cr_assert(log_tail_place(log_writer_read_fd(w, false), 0, &p));
	put_numbers(w, 4, 4); // not read before the rotation
	snprintf(other, sizeof(other), "%s.1", log_path);
	cr_assert_eq(rename(log_path, other), 0);
	strbuf_init(&why, reason, sizeof(reason));
	cr_assert(log_writer_reopen(w, &why));
	put_numbers(w, 5, 5);
	cr_assert(!log_tail_is_of(log_writer_read_fd(w, false), &p));
	cr_assert(log_tail_is_of(log_writer_read_fd(w, true), &p));
	cr_assert_eq(log_tail_read(log_writer_read_fd(w, true), &p, got_line, &g), 1);
	assert_last(&g, 4);
	cr_assert(log_tail_begin(log_writer_read_fd(w, false), &p));
	cr_assert_eq(log_tail_read(log_writer_read_fd(w, false), &p, got_line, &g), 1);
	assert_last(&g, 5);
	cr_assert_eq(count_lines(other), 4);
	cr_assert_eq(count_lines(log_path), 1);
	log_writer_close(&w);
}

Test(control_log, places_are_taken_as_written_only)
{
	static const char *const bad[] = {"",
					  "1",
					  "1-2",
					  "1-2-3-4",
					  " 1-2-3",
					  "1-2--3",
					  "+1-2-3",
					  "01-2-3",
					  "1-2-ffffffffffffffff",
					  "1-2-10000000000000000",
					  "1-2-3 ",
					  "0x1-2-3"};
	struct log_place p = {.device = 0xfe00, .inode = 77, .offset = 1u << 31}, q;
	char text[64];
	struct strbuf b;

	strbuf_init(&b, text, sizeof(text));
	log_place_format(&b, &p);
	cr_assert(log_place_parse(text, &q));
	cr_assert(p.device == q.device && p.inode == q.inode && p.offset == q.offset);
	for (uint32_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert(!log_place_parse(bad[i], &q), "\"%s\"", bad[i]);
}
