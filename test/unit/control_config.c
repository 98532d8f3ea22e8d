// SPDX-License-Identifier: Apache-2.0
// The configuration reader against test/conf: each NAME.yaml must give exactly the rows of
// NAME.ref, with "accepted" or "refused" as the last line. POSTERN_UPDATE_REF=1 writes the .ref
// files anew: read the difference before you keep it. Run from the top of the repository.
#include "control/config.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config_value.h"

#define CONF_DIR "test/conf"
#define NOW_S 1790000000u // 2026-09-21: "expired" must not depend on the day of the test

static char *
slurp(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *text = malloc(1u << 20);

	if (f == NULL) {
		free(text);
		return NULL;
	}
	*size = fread(text, 1, (1u << 20) - 1, f);
	text[*size] = '\0';
	fclose(f);
	return text;
}

// What the reader says about a text, as in a .ref file.
static void
report(struct strbuf *out, const char *name, const char *text, size_t size)
{
	struct diag_list d;

	diag_init(&d, NULL);
	struct config *c = config_load_text(name, text, size, NOW_S, &d);
	for (uint32_t i = 0; i < d.count; i++) {
		diag_format(&d, i, out);
		strbuf_add_char(out, '\n');
	}
	strbuf_add_str(out, c != NULL ? "accepted\n" : "refused\n");
	cr_assert(diag_has_error(&d) == (c == NULL));
	config_close(&c);
	diag_fini(&d);
}

static bool
golden_check(const char *name)
{
	static char mem[256 * 1024];
	char path[300], ref_path[300];
	size_t size, ref_size;
	struct strbuf out;

	snprintf(path, sizeof(path), CONF_DIR "/%s.yaml", name);
	snprintf(ref_path, sizeof(ref_path), CONF_DIR "/%s.ref", name);
	char *text = slurp(path, &size);
	cr_assert(text != NULL, "%s", path);
	strbuf_init(&out, mem, sizeof(mem));
	report(&out, strrchr(path, '/') + 1, text, size);
	free(text);
	if (getenv("POSTERN_UPDATE_REF") != NULL) {
		FILE *f = fopen(ref_path, "wb");
		cr_assert(f != NULL);
		cr_assert(fwrite(out.p, 1, out.len, f) == out.len);
		fclose(f);
		return true;
	}
	char *ref = slurp(ref_path, &ref_size);
	bool same = ref != NULL && ref_size == out.len && memcmp(ref, out.p, out.len) == 0;
	if (!same)
		cr_log_error("%s: expected\n%s--- but got\n%s", name,
			     ref != NULL ? ref : "(no .ref)\n", out.p);
	free(ref);
	return same;
}

Test(control_config, golden)
{
	DIR *dir = opendir(CONF_DIR);
	uint32_t seen = 0, bad = 0;

	cr_assert(dir != NULL, "run from the top of the repository");
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		char name[260];
		size_t n = strlen(e->d_name);
		if (n < 6 || strcmp(e->d_name + n - 5, ".yaml") != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(n - 5), e->d_name);
		bad += !golden_check(name);
		seen++;
	}
	closedir(dir);
	cr_assert(bad == 0, "%u of %u differ", bad, seen);
	cr_assert(seen >= 30);
}

// What was written is what can be read back, with its line.
Test(control_config, good_full_values)
{
	struct diag_list d;
	size_t size;
	char *text = slurp(CONF_DIR "/good_full.yaml", &size);

	cr_assert(text != NULL);
	diag_init(&d, NULL);
	struct config *c = config_load_text("x", text, size, NOW_S, &d);
	cr_assert(c != NULL);
	cr_assert(d.errors == 0);
	cr_assert_eq(d.count, 0);
	cr_assert(c->text_size == size && memcmp(c->text, text, size) == 0);
	cr_assert_str_eq(c->setting[SETTING_server_hostname].text, "mx.example.org");
	cr_assert(c->setting[SETTING_server_hostname].line == 3);
	cr_assert(c->setting[SETTING_server_received_header].number == 1);
	cr_assert(c->setting[SETTING_server_result_header].number == 0);
	cr_assert(c->setting[SETTING_limits_message_bytes_max].number == 25u << 20);
	cr_assert(c->setting[SETTING_limits_hold_bytes_max].number == 128u << 10);
	cr_assert(c->setting[SETTING_scan_on_limit].number == FAILURE_REJECT);
	cr_assert(c->setting[SETTING_scan_on_ambiguous].number == FAILURE_DEFER);
	cr_assert(c->setting[SETTING_scan_on_error].number == FAILURE_DEFER);
	cr_assert(c->setting[SETTING_scan_on_error].line == 0);
	cr_assert(c->setting[SETTING_sender_filter_action].number == SENDER_ACTION_STAMP_STATUS);
	cr_assert(c->cores_count == 2 && c->cores[1].cpu == 2);
	cr_assert(c->ports_count == 2);
	cr_assert_str_eq(c->ports[1].name, "inside");
	cr_assert_str_eq(c->ports[1].device, "03:00.0");
	cr_assert(c->ports[1].addr_count == 1 && c->ports[1].vlan == 0);
	cr_assert(ipaddr_to_v4(&c->ports[1].addr[0].addr) == 0xc633640a);
	cr_assert(c->ports[1].addr[0].prefix_bits == 120 && c->ports[1].line == 13);
	cr_assert(ipaddr_to_v4(&c->ports[0].gateway) == 0xc0000201);
	cr_assert(c->listeners_count == 2 && c->listeners[1].port == 1);
	cr_assert(c->listeners[1].direction == DIRECTION_OUTBOUND);
	cr_assert(c->backends_count == 2 && c->backends[1].tcp_port == 2525);
	cr_assert(c->agent_order[0] == AGENT_sender_filter);
	cr_assert(c->agent_order[1] == AGENT_connection_filtering);
	cr_assert(c->agent_order[2] == AGENT_content_filter);
	uint32_t before = 0, seen = 0;
	for (uint32_t i = 0; i < AGENT_COUNT; i++) {
		seen |= 1u << c->agent_order[i];
		if (i < 3)
			continue;
		uint32_t place = agent_default_place(c->agent_order[i]); // not named in the file
		cr_assert(place > before);
		before = place;
	}
	cr_assert(seen == (1u << AGENT_COUNT) - 1, "each agent once");
	cr_assert(!c->agent_enabled[AGENT_attachment_filtering]);
	cr_assert(c->agent_enabled[AGENT_content_filter]);
	cr_assert(c->ip_allow_count == 2 && c->ip_block_count == 2);
	cr_assert(c->ip_allow[0].prefix.bits == 120 && c->ip_allow[0].expires_s == 0);
	cr_assert(c->ip_allow[1].expires_s == 1798675200);
	cr_assert_str_eq(c->ip_allow[1].comment, "x");
	cr_assert(c->ip_block[0].expires_s == 1798761600); // +01:00 is an hour earlier
	cr_assert(c->accepted_domains_count == 2);
	cr_assert_str_eq(c->accepted_domains[1].text, "example.net");
	cr_assert(c->accepted_domains[1].kind == ADDR_DOMAIN_AND_SUBDOMAINS);
	cr_assert(c->blocked_senders_count == 3);
	cr_assert_str_eq(c->blocked_senders[0].text, "a@b.example");
	cr_assert(c->blocked_senders[0].kind == ADDR_EXACT);
	cr_assert(c->blocked_senders[1].kind == ADDR_DOMAIN);
	cr_assert(c->blocked_senders[2].kind == ADDR_DOMAIN_AND_SUBDOMAINS);
	cr_assert(c->recipients_count == 2 && c->blocked_recipients_count == 1);
	cr_assert(c->phrases_count == 2 && c->phrases[1].influence == INFLUENCE_GOOD_WORD);
	cr_assert(c->names_count == 2 && c->types_count == 1);
	cr_assert_str_eq(c->types[0].text, "application/hta");
	config_close(&c);
	diag_fini(&d);
	free(text);
}

Test(control_config, attachment_defaults)
{
	struct diag_list d;
	size_t size;
	char *text = slurp(CONF_DIR "/good_least.yaml", &size);

	diag_init(&d, NULL);
	struct config *c = config_load_text("x", text, size, NOW_S, &d);
	cr_assert(c != NULL);
	cr_assert(c->names_count == 60);
	cr_assert_str_eq(c->names[0].text, "*.ade");
	cr_assert_str_eq(c->names[59].text, "*.xnk");
	cr_assert(c->types_count == 10);
	config_close(&c);
	free(text);
	text = slurp(CONF_DIR "/good_empty_sections.yaml", &size);
	c = config_load_text("x", text, size, NOW_S, &d);
	cr_assert(c != NULL);
	cr_assert(c->names_count == 0 && c->types_count == 0);
	config_close(&c);
	free(text);
	diag_fini(&d);
}

// The documented example must stay a file that is accepted, without a warning.
Test(control_config, example_is_accepted)
{
	struct diag_list d;

	diag_init(&d, NULL);
	struct config *c = config_load("deploy/postern.yaml", NOW_S, &d);
	cr_assert(c != NULL, "%s", d.count > 0 ? d.row[0].text : "");
	cr_assert(d.count == 0, "%s", d.count > 0 ? d.row[0].text : "");
	config_close(&c);
	diag_fini(&d);
}

// Each option is in the example, with its default as the value.
Test(control_config, example_names_every_option)
{
	struct diag_list d;

	diag_init(&d, NULL);
	struct config *c = config_load("deploy/postern.yaml", NOW_S, &d);
	cr_assert(c != NULL);
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *s = schema_setting(i);
		struct setting_value def = schema_default(i);
		cr_expect(c->setting[i].line > 0, "%s.%s is missing", s->section, s->key);
		if (i == SETTING_server_hostname)
			continue;
		char have[300], want[300];
		struct strbuf h, w;
		strbuf_init(&h, have, sizeof(have));
		strbuf_init(&w, want, sizeof(want));
		schema_format(i, &c->setting[i], &h);
		schema_format(i, &def, &w);
		cr_expect_str_eq(have, want, "%s.%s", s->section, s->key);
	}
	config_close(&c);
	diag_fini(&d);
}

Test(control_config, file_limits)
{
	struct diag_list d;

	diag_init(&d, NULL);
	struct config *c = config_load("/nonexistent/postern.yaml", NOW_S, &d);
	cr_assert(c == NULL && d.errors == 1);
	c = config_load("/dev/zero", NOW_S, &d);
	cr_assert(c == NULL && d.errors == 1);
	cr_assert_str_eq(d.row[0].text, "is not a file");
	char *text = malloc(CONFIG_FILE_MAX + 1);
	memset(text, '\n', CONFIG_FILE_MAX + 1);
	c = config_load_text("x", text, CONFIG_FILE_MAX + 1, NOW_S, &d);
	cr_assert(c == NULL && d.errors == 1);
	cr_assert_str_eq(d.row[0].text, "larger than 16 MiB");
	c = config_load_text("x", text, CONFIG_FILE_MAX, NOW_S, &d);
	cr_assert(c == NULL && d.errors == 1);
	cr_assert_str_eq(d.row[0].text, "the file is empty");
	free(text);
	diag_fini(&d);
}

Test(control_config, cores_of_another_machine)
{
	static const char text[] =
		"server: {hostname: mx.example.org, accepted_domains: [example.org]}\n"
		"machine:\n  cores: [1, 4, 2]\n"
		"  ports: [{name: a, device: net_tap0, address: 10.0.0.1/8}]\n"
		"listeners: [{port: a, tcp_port: 25, direction: inbound}]\n"
		"backends: [{name: b, address: 10.0.0.2, tcp_port: 25, direction: inbound}]\n";
	struct diag_list d;

	diag_init(&d, NULL);
	struct config *c = config_load_text("x", text, strlen(text), NOW_S, &d);
	cr_assert_not_null(c);
	config_check_cores(c, 5, &d);
	config_check_cores(c, 0, &d);
	cr_assert_eq(d.count, 0);
	config_check_cores(c, 2, &d);
	cr_assert_eq(d.count, 2);
	cr_assert_eq(d.errors, 0);
	cr_assert_eq(d.row[0].line, 3);
	cr_assert_str_eq(d.row[0].text,
			 "machine.cores: there is no core 4, this machine has 0 to 1");
	config_close(&c);
	diag_fini(&d);
}

// posternd may read everything, who asks it may not.
Test(control_config, file_of_another_user)
{
	const uid_t other = 54321;
	char path[] = "/tmp/control_config.XXXXXX";
	int fd = mkstemp(path);
	struct diag_list d;

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, "secret: 1\n", 10), 10);
	diag_init(&d, NULL);
	cr_assert_eq(fchmod(fd, 0660), 0);
	cr_assert_null(config_load_for(path, other, NOW_S, &d));
	cr_assert_eq(d.errors, 1);
	cr_assert_not_null(strstr(d.row[0].text, "neither yours nor readable"));
	// Posternd's own user, root, and whoever owns it or is one of all get to hear of the
	// mistakes.
	cr_assert_null(config_load_for(path, geteuid(), NOW_S, &d));
	cr_assert_not_null(strstr(d.row[0].text, "secret"));
	cr_assert_null(config_load_for(path, 0, NOW_S, &d));
	cr_assert_not_null(strstr(d.row[0].text, "secret"));
	cr_assert_eq(fchmod(fd, 0604), 0);
	cr_assert_null(config_load_for(path, other, NOW_S, &d));
	cr_assert_not_null(strstr(d.row[0].text, "secret"));
	if (geteuid() == 0) {
		cr_assert_eq(fchmod(fd, 0600), 0);
		cr_assert_eq(fchown(fd, other, (gid_t)-1), 0);
		cr_assert_null(config_load_for(path, other, NOW_S, &d));
		cr_assert_not_null(strstr(d.row[0].text, "secret"));
	}
	close(fd);
	unlink(path);
	diag_fini(&d);
}

Test(control_config, unknown_keys_are_cut)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"root:x:0:0:root:/root:/bin/bash_and_some_more_of_it_all: 1\n",
		 "\"root:x:0:0:root:/root:/bin/bash_and_some\""},
		{"\"ab\\x1b345678901234567890123456789012345678901234567890\": 1\n",
		 "\"ab\\x1b3456789012345678901234567890123456\""},
		{"123456789012345678901234567890123456789\xc3\xa4x: 1\n",
		 "\"123456789012345678901234567890123456789\""},
	};
	struct diag_list d;

	diag_init(&d, NULL);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct config *c =
			config_load_text("x", rows[i].text, strlen(rows[i].text), NOW_S, &d);
		cr_assert_null(c);
		cr_assert_not_null(strstr(d.row[0].text, rows[i].says), "%s", d.row[0].text);
	}
	diag_fini(&d);
}

// More mistakes than anybody reads: counted, not kept.
Test(control_config, mistakes_are_bounded)
{
	struct diag_list d;
	size_t n = 0, cap = 200000;
	char *text = malloc(cap);

	n += (size_t)snprintf(text, cap, "connection_filtering:\n  block:\n");
	for (uint32_t i = 0; i < 5000; i++)
		n += (size_t)snprintf(text + n, cap - n, "    - bad%u\n", i);
	diag_init(&d, NULL);
	struct config *c = config_load_text("x", text, n, NOW_S, &d);
	cr_assert(c == NULL);
	cr_assert(d.count == DIAG_MAX);
	cr_assert(d.errors == 5000 + 4); // and ports, cores, listeners, backends
	cr_assert(d.dropped == d.errors + d.warnings - DIAG_MAX);
	for (uint32_t i = 1; i < d.count; i++)
		cr_assert(d.row[i - 1].line <= d.row[i].line);
	free(text);
	diag_fini(&d);
}

// Any prefix of a good file, and any byte of it changed, is read without harm.
Test(control_config, survives_damage)
{
	struct diag_list d;
	size_t size;
	char *text = slurp(CONF_DIR "/good_full.yaml", &size);
	static const char odd[] = {'\0', '\n', '\t', '*', '&',        '"',
				   '[',  '}',  ':',  '-', (char)0xff, ' '};

	diag_init(&d, NULL);
	for (size_t n = 0; n < size; n += 3) {
		struct config *c = config_load_text("x", text, n, NOW_S, &d);
		cr_assert(diag_has_error(&d) == (c == NULL));
		config_close(&c);
	}
	for (size_t n = 0; n < size; n += 2) {
		char was = text[n];
		text[n] = odd[(n / 2) % sizeof(odd)];
		struct config *c = config_load_text("x", text, size, NOW_S, &d);
		cr_assert(diag_has_error(&d) == (c == NULL));
		config_close(&c);
		text[n] = was;
	}
	free(text);
	diag_fini(&d);
}

Test(control_config, times)
{
	static const struct {
		const char *text;
		uint64_t want; // 0: refused
	} rows[] = {
		{"1970-01-02", 86400},
		{"2000-02-29T12:00:00Z", 951825600},
		{"2026-12-31T00:00:00Z", 1798675200},
		{"2026-12-31 00:00:00z", 1798675200},
		{"2026-12-31T02:30:00+02:30", 1798675200},
		{"2026-12-30T22:00:00-02:00", 1798675200},
		{"9999-12-31T23:59:59Z", 253402300799},
		{"1970-01-01", 0},
		{"1900-01-01", 0},
		{"2100-02-29", 0},
		{"2026-13-01", 0},
		{"2026-00-01", 0},
		{"2026-01-00", 0},
		{"2026-1-1", 0},
		{"2026-12-31T00:00:00", 0},
		{"2026-12-31T24:00:00Z", 0},
		{"2026-12-31T00:00:60Z", 0},
		{"2026-12-31T00:00:00Zx", 0},
		{"2026-12-31T00:00:00+0100", 0},
		{"", 0},
		{"-2026-12-31", 0},
	};

	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t t = 0;
		bool ok = config_time_parse(span_str(rows[i].text), &t);
		cr_expect(ok == (rows[i].want != 0), "%s", rows[i].text);
		if (!ok)
			continue;
		cr_expect(t == rows[i].want, "%s is %llu", rows[i].text, (unsigned long long)t);
		char mem[40];
		struct strbuf b;
		strbuf_init(&b, mem, sizeof(mem));
		config_time_format(&b, t);
		uint64_t again = 0;
		cr_expect(config_time_parse(strbuf_span(&b), &again) && again == t, "%s", mem);
	}
}

Test(control_config, schema_table)
{
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *s = schema_setting(i);
		enum setting_id id;
		cr_expect(schema_find(span_str(s->section), span_str(s->key), &id) && id == i);
		cr_expect(schema_has_section(span_str(s->section)));
		cr_expect(s->help[0] != '\0');
		if (s->kind == SETTING_KIND_TEXT)
			cr_expect(strlen(s->text) <= s->max);
		else
			cr_expect(s->number >= s->min && s->number <= s->max, "%s.%s", s->section,
				  s->key);
	}
	cr_assert(schema_distance(SPAN_LIT("limit"), SPAN_LIT("limits"), 4) == 1);
	cr_assert(schema_distance(SPAN_LIT("recieved"), SPAN_LIT("received"), 4) == 1);
	cr_assert(schema_distance(SPAN_LIT("Limits"), SPAN_LIT("limits"), 4) == 0);
	cr_assert(schema_distance(SPAN_LIT(""), SPAN_LIT("abc"), 9) == 3);
	cr_assert(schema_distance(SPAN_LIT("kitten"), SPAN_LIT("sitting"), 9) == 3);
	cr_assert(schema_distance(SPAN_LIT("abcdef"), SPAN_LIT("uvwxyz"), 3) == 4);
}

Test(control_config, diag_rows)
{
	struct diag_list d;
	struct strbuf b;
	char mem[200];

	diag_init(&d, "a.yaml");
	diag_warning(&d, 7, 2, "second");
	diag_error(&d, 3, 9, "first %d", 1);
	diag_error(&d, 7, 2, "third\x1b[1m");
	diag_error(&d, 0, 0, "no place");
	diag_sort(&d);
	static const char *const want[] = {"a.yaml: error: no place", "a.yaml:3:9: error: first 1",
					   "a.yaml:7:2: warning: second",
					   "a.yaml:7:2: error: third\\x1b[1m"};
	cr_assert(d.count == 4 && d.errors == 3 && d.warnings == 1);
	for (uint32_t i = 0; i < 4; i++) {
		strbuf_init(&b, mem, sizeof(mem));
		diag_format(&d, i, &b);
		cr_expect_str_eq(mem, want[i]);
	}
	diag_reset(&d);
	cr_assert(!diag_has_error(&d) && d.count == 0);
	diag_fini(&d);
}
