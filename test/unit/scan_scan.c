// SPDX-License-Identifier: Apache-2.0
// Tests of the scan: what is found, what is marked and why; each message whole and cut in many
// ways. Larger structures are in test/mime (scan_golden.c); here is one trick a test.
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "scanner/mime.h"
#include "test/unit/scan_rig.h"

static struct rig r;
static struct scan_result res;

static void
setup(void)
{
	rig_standard(&r);
}

static void
teardown(void)
{
	rig_close(&r);
}

TestSuite(scan, .init = setup, .fini = teardown);

// Runs a message whole, at every single cut, byte by byte and in pieces; all results must be alike.
static void
run_bytes(const void *p, uint32_t n)
{
	static char want[RIG_TRACE_SIZE], got[RIG_TRACE_SIZE];
	static const uint8_t pieces[][3] = {{1, 1, 1}, {2, 3, 5}, {7, 1, 16}, {76, 2, 1}};
	struct scan_result cut;
	struct strbuf b;

	rig_run(&r, span_of(p, n), NULL, 0, &res);
	strbuf_init(&b, want, sizeof(want));
	rig_trace(&res, &b);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		rig_run(&r, span_of(p, n), pieces[i], 3, &cut);
		strbuf_init(&b, got, sizeof(got));
		rig_trace(&cut, &b);
		cr_assert_str_eq(got, want, "pieces %zu", i);
	}
	for (uint32_t at = 1; at < MIN(n, 255); at++) { // two pieces, then the rest in one of 255
		uint8_t lens[2] = {(uint8_t)at, 255};

		rig_run(&r, span_of(p, n), lens, 2, &cut);
		strbuf_init(&b, got, sizeof(got));
		rig_trace(&cut, &b);
		cr_assert_str_eq(got, want, "cut at %u", at);
	}
}

static void
run(const char *text)
{
	run_bytes(text, (uint32_t)strlen(text));
}

// A single part with these header fields and this body.
static void
run_part(const char *fields, const char *body)
{
	static char mem[65536];
	struct strbuf b;

	strbuf_init(&b, mem, sizeof(mem));
	strbuf_addf(&b, "From: a@b.example\r\n%s\r\n%s", fields, body);
	cr_assert(!b.truncated);
	run_bytes(b.p, b.len);
}

// An attachment in a multipart; `fields` are the part's.
static void
run_attachment(const char *fields)
{
	static char mem[65536];
	struct strbuf b;

	strbuf_init(&b, mem, sizeof(mem));
	strbuf_addf(&b,
		    "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
		    "--b\r\n%s\r\nx\r\n--b--\r\n",
		    fields);
	cr_assert(!b.truncated);
	run_bytes(b.p, b.len);
}

static void
expect_cause(uint32_t causes, const char *text)
{
	cr_assert_eq(res.causes, causes, "causes %u (%s)", res.causes, res.cause_text);
	if (text == NULL)
		cr_assert_null(res.cause_text, "%s", res.cause_text);
	else
		cr_assert_str_eq(res.cause_text, text);
}

static void
expect_bad(uint32_t id)
{
	cr_assert_eq(res.bad_count, 1, "bad_count %u", res.bad_count);
	cr_assert_eq(res.bad[0].id, id);
}

static void
expect_name(const char *name, uint32_t causes)
{
	cr_assert_geq(res.name_count, 1, "no name found, %s was hidden", name);
	for (uint32_t i = 0; i < MIN(res.name_count, SCAN_EVIDENCE_MAX); i++)
		if (strcmp(res.name[i].text, name) == 0) {
			cr_assert_eq(res.causes, causes, "causes %u (%s)", res.causes,
				     res.cause_text);
			return;
		}
	cr_assert_fail("%s was not found, but %s", name, res.name[0].text);
}

// --- messages --------------------------------------------------------------------------------

Test(scan, plain)
{
	run("Received: x\r\nReceived: y\r\n z\r\nFrom: Joe <joe@b.example>\r\nSubject: "
	    "s\r\n\r\nBuy  cheap\r\npills!\r\n");
	expect_cause(0, NULL);
	expect_bad(0);
	cr_assert_eq(res.received_count, 2);
	cr_assert_str_eq(res.header_from, "joe@b.example");
	cr_assert_eq(res.header_from_count, 1);
	cr_assert_eq(res.part_count, 1);
	cr_assert_eq(res.good_count, 0);
}

Test(scan, clean)
{
	run("From: a@b.example\r\n\r\nnothing to see\r\n");
	expect_cause(0, NULL);
	cr_assert_eq(res.bad_count + res.good_count + res.name_count + res.type_count, 0);
}

Test(scan, ends)
{
	run("");
	expect_cause(0, NULL);
	cr_assert(res.headers_done);
	run("From: a@b.example");
	cr_assert_str_eq(res.header_from, "a@b.example");
	run("From: a@b.example\r\n");
	cr_assert_str_eq(res.header_from, "a@b.example");
	run("\r\n");
	run("\r\nhidden words");
	expect_bad(1);
	run("\n\nhidden words\r");
	expect_bad(1);
}

Test(scan, subject)
{
	run("From: a@b.example\r\nSubject: =?utf-8?Q?buy_che?= "
	    "=?utf-8?B?YXAgcGlsbHM=?=\r\n\r\nx\r\n");
	expect_cause(0, NULL);
	expect_bad(0);
	run("From: a@b.example\r\nSubject: buy cheap\r\n pills\r\n\r\nx\r\n");
	expect_bad(0);
	run("From: a@b.example\r\nSubject: buy cheap\r\n\r\npills\r\n"); // two texts
	cr_assert_eq(res.bad_count, 0);
	run("From: a@b.example\r\nX-Other: buy cheap pills\r\n\r\n\r\n");
	cr_assert_eq(res.bad_count, 0);
}

Test(scan, encodings)
{
	run_part("Content-Transfer-Encoding: base64\r\n", "YnV5IGNo\r\nZWFwIHBp\r\nbGxz\r\n");
	expect_cause(0, NULL);
	expect_bad(0);
	run_part("Content-Transfer-Encoding: Quoted-Printable\r\n",
		 "buy che=\r\nap=20pi=6C=6cs\r\n");
	expect_cause(0, NULL);
	expect_bad(0);
	run_part("Content-Transfer-Encoding: 7bit\r\n", "buy che=\r\nap=20pills\r\n");
	cr_assert_eq(res.bad_count, 0);
	run_part("Content-Type: text/html; charset=iso-8859-1\r\n", "<b>CAF\xc9 Noir</b>\r\n");
	expect_bad(2);
	// What is no text is not read.
	run_part("Content-Type: image/png\r\n", "buy cheap pills\r\n");
	cr_assert_eq(res.bad_count, 0);
}

// Longer than every buffer, so that texts span the pieces that the matcher gets.
Test(scan, long_texts)
{
	static char body[20000];
	static const uint8_t pieces[] = {255, 254, 1};
	struct scan_result cut;
	uint32_t n = 0;

	for (uint32_t pad = 4000; pad < 4130; pad++) {
		n = (uint32_t)snprintf(body, sizeof(body), "From: a@b.example\r\n\r\n");
		for (uint32_t i = 0; i < pad; i++)
			body[n++] = 'x';
		n += (uint32_t)snprintf(body + n, sizeof(body) - n, " buy cheap pills ");
		rig_run(&r, span_of(body, n), NULL, 0, &res);
		expect_bad(0);
		rig_run(&r, span_of(body, n), pieces, 3, &cut);
		cr_assert_eq(cut.bad_count, 1);
	}
}

// A blank at the end of one text does not swallow the one that begins the next.
Test(scan, texts_begin_anew)
{
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\n\r\nx \r\n--b\r\n\r\n after all\r\n--b--\r\n");
	expect_cause(0, NULL);
	expect_bad(4);
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\n\r\nx\r\n--b\r\n\r\nafter all\r\n--b--\r\n");
	cr_assert_eq(res.bad_count, 0);
}

Test(scan, good_and_bad)
{
	run("From: a@b.example\r\n\r\nPROJECT POSTERN, hidden words, buy cheap pills, hidden "
	    "words\r\n");
	cr_assert_eq(res.bad_count, 2);
	cr_assert_eq(res.bad[0].id, 0); // by their place in the list
	cr_assert_eq(res.bad[1].id, 1);
	cr_assert_eq(res.good_count, 1);
	cr_assert_eq(res.good[0].id, 3);
}

// --- names -----------------------------------------------------------------------------------

Test(scan, names)
{
	static const char *const plain[] = {
		"Content-Type: application/x; name=a.exe\r\n",
		"Content-Type: application/x; NAME=\"a.exe\"\r\n",
		"Content-Disposition: attachment; filename=\"a.exe\"\r\n",
		"Content-Disposition: attachment;\r\n\tfilename=a.exe\r\n",
		"Content-Disposition: attachment; filename*=utf-8''a%2Eexe\r\n",
		"Content-Disposition: attachment; filename*=utf-8'en-US'a.exe\r\n",
		"Content-Disposition: attachment; filename*0=a.; filename*1=exe\r\n",
		"Content-Disposition: attachment; filename*0*=utf-8''%61.; filename*1=exe\r\n",
		"Content-Disposition: attachment; filename=\"=?utf-8?Q?a=2Eexe?=\"\r\n",
		"Content-Disposition: attachment; filename=\"=?utf-8?B?YS5leGU=?=\"\r\n",
		"Content-Disposition: attachment; filename==?utf-8?B?YS5leGU=?=\r\n",
		"Content-Disposition: attachment; filename=\"=?utf-8?Q?a.?=\r\n "
		"=?utf-8?Q?exe?=\"\r\n",
		"Content-Disposition: attachment; filename=good.txt; filename*=utf-8''a.exe\r\n",
		"Content-Type: application/x; name=a.exe\r\nContent-Disposition: attachment; "
		"filename=b.txt\r\n",
		"Content-Disposition: attachment; filename=\"a%2Eexe\"\r\n",
		"Content-Disposition: attachment; filename=\"C:\\\\dir\\\\a.exe\"\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		run_attachment(plain[i]);
		cr_assert_geq(res.name_count, 1, "%s", plain[i]);
		cr_assert_eq(res.name[0].id, 0, "%s", plain[i]);
		expect_cause(0, NULL);
	}
	run_attachment("Content-Disposition: attachment; filename=\"/tmp/setup.bin\"\r\n");
	expect_name("setup.bin", 0);
	run_attachment("Content-Disposition: attachment; filename=\"setup.bin::$DATA\"\r\n");
	expect_name("setup.bin", 0);
	run_attachment("Content-Disposition: attachment; filename=\"a.exe. .\"\r\n");
	expect_name("a.exe. .", 0);
	run_attachment("Content-Disposition: attachment; filename=\"exe.txt\"\r\n");
	cr_assert_eq(res.name_count, 0);
	// The name of a single part, and of one inside an enclosed message.
	run_part("Content-Disposition: attachment; filename=a.js\r\n", "x");
	expect_name("a.js", 0);
	run_attachment("Content-Type: message/rfc822\r\n\r\nContent-Type: x/y; name=in.exe\r\n");
	expect_name("in.exe", 0);
}

Test(scan, names_once)
{
	run_attachment("Content-Type: x/y; name=a.exe\r\nContent-Disposition: attachment; "
		       "filename=a.exe\r\n");
	cr_assert_eq(res.name_count, 1);
}

// One attachment, two names: which one a reader takes is his business.
Test(scan, odd_names)
{
	static const struct {
		const char *field, *name;
	} v[] = {
		{"Content-Type: x/y; name=a.txt; name=b.exe\r\n", "b.exe"},
		{"Content-Type: x/y; name=b.exe; name=a.txt\r\n", "b.exe"},
		{"Content-Disposition: attachment; filename=\"a\".exe\r\n", "a.exe"},
		{"Content-Disposition: attachment; filename=\"a.exe; x=y\r\n", "a.exe"},
		{"Content-Disposition: attachment; filename((c))=a.exe\r\n", "a.exe"},
		{"Content-Disposition: attachment; filename*1=exe; filename*0=a.\r\n", "a.exe"},
		{"Content-Disposition: attachment; filename*0=a.; filename*2=exe\r\n", "a.exe"},
		{"Content-Disposition: attachment; filename=\"abc=?utf-8?Q?.exe?=\"\r\n",
		 "abc.exe"},
		{"Content-Disposition: attachment; filename=a;.exe\r\n", "a;.exe"},
		{"Content-Disposition: attachment filename=a.exe\r\n", "a.exe"},
		{"Content-Type: x/y name=a.exe\r\n", "a.exe"},
		{"Content-Disposition: attachment; x=\"; filename=a.exe\r\n", "a.exe"},
		{"Content-Disposition : attachment; filename=a.exe\r\n", "a.exe"},
		{"Content-Disposition: attachment; filename=a.txt\r\n"
		 "Content-Disposition: attachment; filename=a.exe\r\n",
		 "a.exe"},
		{"Content-Disposition: attachment; filename*=utf-16''a%00.%00e%00x%00e%00\r\n",
		 "a.exe"},
	};
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		run_attachment(v[i].field);
		cr_assert_geq(res.name_count, 1, "%s", v[i].field);
		if (i + 1 ==
		    ARRAY_LEN(v)) // the charset hides nothing from us, so there is no doubt
			expect_name(v[i].name, 0);
		else
			expect_name(v[i].name, SCAN_CAUSE_AMBIGUOUS);
	}
	run_attachment(
		"Content-Disposition: attachment; filename=my report (1).exe\r\n"); // many do this
	expect_name("my report (1).exe", 0);
}

Test(scan, evidence_is_printable)
{
	run_attachment("Content-Disposition: attachment; filename=\"\x1b[31m\xc3\xa9.exe\"\r\n");
	expect_name("?[31m??.exe", 0);
}

Test(scan, types)
{
	run_attachment("Content-Type: Application/HTA; name=x\r\n");
	expect_cause(0, NULL);
	cr_assert_eq(res.type_count, 1);
	cr_assert_str_eq(res.type[0].text, "Application/HTA");
	run_part("Content-Type: message/partial; id=1\r\n", "x\r\n");
	cr_assert_eq(res.type_count, 1);
	run_attachment("Content-Type: application (c) / (d) hta\r\n");
	cr_assert_eq(res.type_count, 1);
	run_attachment("Content-Type: text/plain\r\nContent-Type: application/hta\r\n");
	cr_assert_eq(res.type_count, 1);
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "more than one Content-Type");
	run_attachment("Content-Type: application/htaccess\r\n");
	cr_assert_eq(res.type_count, 0);
}

// --- ambiguous -------------------------------------------------------------------------------

// Whatever boundary a reader takes, we saw the part that it shows.
static void
expect_boundaries(const char *params, const char *delimiter, uint32_t causes)
{
	static char mem[8192];
	struct strbuf b;

	strbuf_init(&b, mem, sizeof(mem));
	strbuf_addf(
		&b,
		"From: a@b.example\r\nContent-Type: multipart/mixed%s\r\n\r\n--%s\r\n"
		"Content-Type: text/plain; name=in.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		"aGlkZGVuIHdvcmRz\r\n--%s--\r\n",
		params, delimiter, delimiter);
	run_bytes(b.p, b.len);
	cr_assert_eq(res.bad_count, 1, "%s: --%s was not seen", params, delimiter);
	cr_assert_eq(res.bad[0].id, 1);
	cr_assert_geq(res.name_count, 1, "%s: --%s", params, delimiter);
	cr_assert_eq(res.causes & ~(uint32_t)SCAN_CAUSE_BROKEN, causes, "%s: %u %s", params,
		     res.causes, res.cause_text);
}

Test(scan, boundaries)
{
	const uint32_t amb = SCAN_CAUSE_AMBIGUOUS;

	expect_boundaries("; boundary=x", "x", 0);
	expect_boundaries(";boundary=\"x y\"", "x y", 0);
	expect_boundaries("; boundary=----=_Part_1", "----=_Part_1", 0);
	expect_boundaries("; boundary=one; boundary=two", "one", amb); // CVE-2024-28054
	expect_boundaries("; boundary=one; boundary=two", "two", amb);
	expect_boundaries("; boundary((c))=x", "x", amb);
	expect_boundaries("; boundary=x(c)", "x", amb);
	expect_boundaries("; boundary=x(c)", "x(c)", amb);
	expect_boundaries("; boundary*0=ab; boundary*1=cd", "abcd", amb);
	expect_boundaries("; boundary*0=ab; boundary*1=cd", "ab", amb);
	expect_boundaries("; boundary*=us-ascii''a%62c", "abc", amb);
	expect_boundaries("; boundary=\"=?utf-8?Q?abc?=\"", "abc", amb);
	expect_boundaries("; boundary=\"=?utf-8?Q?abc?=\"", "=?utf-8?Q?abc?=", amb);
	expect_boundaries("; x=\"; boundary=one\"; boundary=two", "one", amb);
	expect_boundaries("; x=\"; boundary=one\"; boundary=two", "two", amb);
	expect_boundaries("; boundary=a b", "a", amb);
	expect_boundaries("; boundary=a b", "a b", amb);
	expect_boundaries("; boundary=\"abc", "abc", amb);
	expect_boundaries("; @=; boundary=x", "x", 0);
	expect_boundaries(" boundary=x", "x", amb);
	expect_boundaries("", "guessed", 0); // broken instead
}

Test(scan, two_content_types)
{
	run("From: a@b.example\r\nContent-Type: text/plain\r\nContent-Type: multipart/mixed; "
	    "boundary=b\r\n\r\n"
	    "buy cheap pills\r\n--b\r\nContent-Transfer-Encoding: "
	    "base64\r\n\r\naGlkZGVuIHdvcmRz\r\n--b--\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "more than one Content-Type");
	cr_assert_eq(res.bad_count, 2);
	run("From: a@b.example\r\nContent-Type: multipart/mixed; boundary=a\r\n"
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	    "--b\r\n\r\nbuy cheap pills\r\n--b--\r\n--a\r\n\r\nhidden words\r\n--a--\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "more than one Content-Type");
	cr_assert_eq(res.bad_count, 2);
}

// All readings of an encoding that is in doubt.
Test(scan, doubtful_encodings)
{
	static const char *const fields[] = {
		"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: "
		"quoted-printable\r\n",
		"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n",
		"Content-Transfer-Encoding: \"base64\"\r\n",
		"Content-Transfer-Encoding: base64;\r\n",
		"Content-Transfer-Encoding: base64 (c)\r\n",
		"Content-Transfer-Encoding: x-unknown\r\n",
		"Content-Transfer-Encoding:\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		run_part(fields[i], "aGlkZGVu\r\nIHdvcmRz\r\n");
		cr_assert_eq(res.causes, SCAN_CAUSE_AMBIGUOUS, "%s", fields[i]);
		expect_bad(1);
		run_part(fields[i], "hidden=20wo=\r\nrds\r\n");
		expect_bad(1);
		run_part(fields[i], "hidden words\r\n");
		expect_bad(1);
	}
	run_part("Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: base64\r\n",
		 "aGlkZGVuIHdvcmRz\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "more than one Content-Transfer-Encoding");
	expect_bad(1);
}

Test(scan, encoded_containers)
{
	// Content-Type: x/y; name=in.exe, encoded
	run_part("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n",
		 "Q29udGVudC1UeXBlOiB4L3k7IG5hbWU9aW4uZXhlDQoNCmhpZGRlbiB3b3Jkcw0K\r\n");
	expect_name("in.exe", SCAN_CAUSE_AMBIGUOUS);
	expect_bad(1);
	run_part("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: "
		 "base64\r\n",
		 "LS1iDQpDb250ZW50LVR5cGU6IHgveTsgbmFtZT1pbi5leGUNCg0KaGlkZGVuIHdvcmRzDQotLWItLQ0K"
		 "\r\n");
	expect_name("in.exe", SCAN_CAUSE_AMBIGUOUS | SCAN_CAUSE_BROKEN);
	expect_bad(1);
}

Test(scan, two_froms)
{
	run("From: a@b.example\r\nFrom: c@d.example\r\n\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "more than one From");
	cr_assert_eq(res.header_from_count, 2);
	cr_assert_str_eq(res.header_from, "a@b.example");
	run("From: a@b.example, c@d.example\r\n\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "From names more than one address");
	run("From: nobody\r\n\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "From without an address");
	run("From : a@b.example\r\n\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "malformed name of a header field");
	run("To: a@b.example\r\n\r\nFrom: x@y.example\r\n");
	expect_cause(0, NULL);
	cr_assert_eq(res.header_from_count, 0);
}

Test(scan, header_oddities)
{
	run("From: a@b.example\r\nno field\r\n\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "header line that is no field");
	run(" folded\r\nFrom: a@b.example\r\n\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "header section begins with a continuation line");
	run("From: a@b.example\r\n \t\r\nContent-Transfer-Encoding: base64\r\n\r\nhidden "
	    "words\r\n");
	cr_assert(res.causes & SCAN_CAUSE_AMBIGUOUS);
	expect_bad(1);
	run("From: a@b.example\r\nSubject: a\r\nSubject: hidden words\r\n\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "more than one Subject");
	expect_bad(1);
	run("From a@b Mon Jan 1 00:00:00 2024\r\nFrom: a@b.example\r\n\r\n"); // of a mailbox file
	expect_cause(0, NULL);
}

// --- broken ----------------------------------------------------------------------------------

Test(scan, bad_encodings)
{
	run_part("Content-Transfer-Encoding: base64\r\n", "aGlkZGVu!\r\nbuy cheap pills\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "malformed base64");
	expect_bad(0); // as it is, from the bad byte on
	run_part("Content-Transfer-Encoding: base64\r\n", "aGlkZGVuIHdv!cmRz\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "malformed base64");
	expect_bad(1);
	run_part("Content-Transfer-Encoding: base64\r\n", "YQ==\r\naGlkZGVuIHdvcmRz\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "malformed base64");
	expect_bad(1);
	run_part("Content-Transfer-Encoding: quoted-printable\r\n", "=ZZ hidden words\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "malformed quoted-printable");
	expect_bad(1);
}

Test(scan, structure)
{
	run_part("Content-Type: multipart/mixed; boundary=b\r\n", "--b\r\n\r\nhidden words\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "multipart without closing delimiter");
	expect_bad(1);
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\nContent-Type: text/plain\r\n--b--\r\n");
	expect_cause(SCAN_CAUSE_BROKEN, "delimiter inside a header section");
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\nhidden words\r\n--b--");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "delimiter behind the closing one");
	expect_bad(1);
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\n\r\nx\r\n--bb\r\nhidden words\r\n--b--\r\n");
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "line that begins like a delimiter");
	expect_bad(1);
	run_part("Content-Type: multipart/mixed\r\n", "hidden words\r\n");
	cr_assert_eq(res.causes, SCAN_CAUSE_BROKEN);
	cr_assert_str_eq(res.cause_text, "multipart without boundary");
	expect_bad(1);
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\nContent-Type: x/y; name=a.exe");
	expect_name("a.exe", SCAN_CAUSE_BROKEN);
	run_part("Content-Type: nonsense\r\n", "hidden words");
	expect_cause(SCAN_CAUSE_BROKEN, "content type without a subtype");
	expect_bad(1);
}

// The line end before a delimiter is the delimiter's; preamble and epilogue are read too.
Test(scan, around_delimiters)
{
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "hidden words\r\n--b\r\n\r\nbuy cheap\r\n--b\r\n\r\npills\r\n--b--\r\nproject "
		 "postern\r\n");
	expect_cause(0, NULL);
	cr_assert_eq(res.part_count, 3);
	expect_bad(1); // and not "buy cheap" + "pills": two parts
	cr_assert_eq(res.good_count, 1);
	run_part("Content-Type: multipart/mixed; boundary=b\r\n",
		 "--b\r\n\r\n-- \r\nhidden\r\n-words\r\n--\r\n-\r\n--c\r\nbuy\r\n cheap\n "
		 "pills\r\n--b--  \r\n");
	expect_cause(0, NULL);
	expect_bad(0);
}

Test(scan, wide_text)
{
	static const char head[] =
		"From: a@b.example\r\nContent-Type: text/plain; charset=utf-16le\r\n\r\n";
	static const char text[] = "hidden words\r\n";
	char mem[256];
	uint32_t n = sizeof(head) - 1;

	memcpy(mem, head, n);
	for (uint32_t i = 0; i < sizeof(text) - 1; i++) {
		mem[n++] = text[i];
		mem[n++] = '\0';
	}
	run_bytes(mem, n);
	expect_cause(SCAN_CAUSE_AMBIGUOUS, "charset without ASCII");
	expect_bad(1);
}

// --- limits ----------------------------------------------------------------------------------

static char big[2 << 20];

static uint32_t
repeat(uint32_t at, const char *unit, uint32_t times)
{
	uint32_t n = (uint32_t)strlen(unit);

	cr_assert_lt(at + (uint64_t)n * times, sizeof(big));
	for (uint32_t i = 0; i < times; i++)
		memcpy(big + at + (size_t)i * n, unit, n);
	return at + n * times;
}

static uint32_t
add(uint32_t at, const char *text)
{
	return repeat(at, text, 1);
}

static void
expect_limit(uint32_t n, const char *text)
{
	static const uint8_t pieces[] = {251, 13, 1};
	uint64_t before = r.counters.v[COUNTER_SCAN_LIMIT];
	struct scan_result cut;

	rig_run(&r, span_of(big, n), NULL, 0, &res);
	cr_assert(res.causes & SCAN_CAUSE_LIMIT, "causes %u (%s)", res.causes, res.cause_text);
	cr_assert_gt(r.counters.v[COUNTER_SCAN_LIMIT], before, "not counted");
	if (text != NULL)
		cr_assert_str_eq(res.cause_text, text);
	rig_run(&r, span_of(big, n), pieces, 3, &cut);
	cr_assert_eq(cut.causes, res.causes);
	cr_assert_eq(cut.bad_count, res.bad_count);
	cr_assert_eq(cut.name_count, res.name_count);
}

Test(scan, too_deep)
{
	char text[128];
	uint32_t n = add(0, "From: a@b.example\r\n");

	for (int i = 0; i < 40; i++) {
		snprintf(text, sizeof(text),
			 "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
		n = add(n, text);
	}
	n = add(n, "\r\nhidden words\r\n");
	expect_limit(n, "parts nested too deep");
	expect_bad(1);
	n = add(0, "From: a@b.example\r\n");
	n = repeat(n, "Content-Type: message/rfc822\r\n\r\n", 1000);
	n = add(n, "hidden words\r\n");
	expect_limit(n, "parts nested too deep");
	expect_bad(1);
}

Test(scan, too_many_parts)
{
	uint32_t n =
		add(0, "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");

	n = repeat(n, "--b\r\n\r\nx\r\n", r.view.settings->scan_mime_parts_max + 10);
	n = add(n, "--b\r\n\r\nhidden words\r\n--b--\r\n");
	expect_limit(n, "too many parts");
	expect_bad(1);
}

Test(scan, too_many_names)
{
	uint32_t n =
		add(0, "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");

	n = repeat(n, "--b\r\nContent-Type: x/y; name=a\r\n\r\nx\r\n",
		   r.view.settings->scan_names_max + 1);
	n = add(n, "--b--\r\n");
	expect_limit(n, "too many attachment names");
}

Test(scan, too_many_parameters)
{
	uint32_t n = add(0, "From: a@b.example\r\nContent-Type: x/y");

	n = repeat(n, "; a=b", 1000);
	n = add(n, "\r\n\r\nx\r\n");
	expect_limit(n, "header field too long");
	n = add(0, "From: a@b.example\r\nContent-Type: x/y");
	n = repeat(n, "; a=b", 200);
	n = add(n, "\r\n\r\nx\r\n");
	expect_limit(n, "too many parameters");
	n = add(0, "From: a@b.example\r\nContent-Type: x/y");
	n = repeat(n, "; name*0=b", 100);
	n = add(n, "\r\n\r\nx\r\n");
	expect_limit(n, NULL);
}

Test(scan, header_too_long)
{
	uint32_t n = add(0, "From: a@b.example\r\n");

	n = repeat(n, "X-Padding: 0123456789012345678901234567890123456789\r\n",
		   r.view.settings->scan_header_bytes_max / 50 + 10);
	n = add(n, "Subject: buy cheap pills\r\n\r\nhidden words\r\n");
	expect_limit(n, "header section too long");
	cr_assert_geq(res.bad_count, 1);
	cr_assert_eq(res.bad[res.bad_count - 1].id, 1);
}

Test(scan, boundary_too_long)
{
	uint32_t n = add(0, "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=");

	n = repeat(n, "b", MIME_BOUNDARY_MAX + 1);
	n = add(n, "\r\n\r\nhidden words\r\n");
	expect_limit(n, "boundary too long");
	expect_bad(1);
}

// A delimiter padded with more blanks than the line buffer holds is still one.
Test(scan, padded_delimiter)
{
	uint32_t n =
		add(0, "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b");

	n = repeat(n, " ", 1000);
	n = add(n, "\r\nContent-Type: x/y; name=a.exe\r\n\r\nx\r\n--b--\r\n");
	rig_run(&r, span_of(big, n), NULL, 0, &res);
	expect_name("a.exe", 0);
}

Test(scan, pools_run_out)
{
	struct scan *s[5];

	for (int i = 0; i < 4; i++) {
		s[i] = scan_open(r.scanner, &r.view, r.matcher);
		cr_assert_not_null(s[i]);
	}
	cr_assert_null(scan_open(r.scanner, &r.view, r.matcher));
	cr_assert_eq(scanner_free_count(r.scanner), 0);
	for (int i = 0; i < 4; i++)
		scan_close(&s[i]);
	cr_assert_null(s[0]);
}

// No stream left: the message is marked, not passed in silence.
Test(scan, no_streams)
{
	struct match_stream *taken[4 * SCAN_STREAMS_MAX];

	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		cr_assert_eq(match_open(r.matcher, 0, MATCH_CONTENT, &taken[i]), MATCH_OK);
	run("From: a@b.example\r\n\r\nhidden words\r\n");
	expect_cause(SCAN_CAUSE_ERROR, "no memory for a match stream");
	cr_assert_gt(r.counters.v[COUNTER_SCAN_ERROR], 0);
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		match_close(&taken[i]);
}

Test(scan, counters)
{
	memset(&r.counters, 0, sizeof(r.counters));
	rig_run(&r,
		SPAN_LIT("From: a@b.example\r\nFrom: a@b.example\r\nFrom: x\r\n\r\nhidden words"),
		NULL, 0, &res);
	cr_assert_eq(r.counters.v[COUNTER_SCANS], 1);
	cr_assert_eq(r.counters.v[COUNTER_SCAN_AMBIGUOUS], 1);
	cr_assert_eq(r.counters.v[COUNTER_SCAN_BROKEN], 0);
	cr_assert_gt(r.counters.v[COUNTER_SCAN_MATCHES], 0);
	cr_assert_gt(r.counters.v[COUNTER_SCAN_BYTES], 11);
}

// Hostile input costs time in proportion to its size.
Test(scan, is_linear)
{
	static const char *const heads[] = {
		"Subject: ",
		"Content-Type: x/y; name=",
		"Content-Type: x/y",
		"From: ",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
		"Content-Type: multipart/mixed; boundary=b; boundary=b\r\n\r\n",
	};
	static const char *const units[] = {"=?",
					    "(",
					    "\"",
					    ";a=\"",
					    "--b\r\n",
					    "--b\r\n\r\n--",
					    "\r\n ",
					    "boundary=",
					    "\r\nSubject: =?",
					    "\r\nContent-Type: a/b; name=\"",
					    "-\r\n",
					    "="};

	for (size_t h = 0; h < ARRAY_LEN(heads); h++)
		for (size_t u = 0; u < ARRAY_LEN(units); u++) {
			uint32_t n = add(0, heads[h]);
			clock_t t = clock();

			n = repeat(n, units[u], 200000 / (uint32_t)strlen(units[u]));
			rig_run(&r, span_of(big, n), NULL, 0, &res);
			cr_assert_lt((double)(clock() - t) / CLOCKS_PER_SEC, 1.0, "%s%s", heads[h],
				     units[u]);
		}
}
