// SPDX-License-Identifier: Apache-2.0
// Tests of the dispatcher and of every rule of the built-in agents.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/abi/policy_build.h"
#include "scanner/agents/agents.h"

// A policy in the making, and the session that runs on it.
struct bench {
	struct policy_build *build;
	struct policy_settings *set;
	void *image;
	struct policy_view view;
	struct counters counters;
	struct event_session session;
	struct event_tx tx;
	struct scan_result scan;
	struct event_ctx ctx;
	struct verdict v;
	char trace[256];
};

static struct bench t;

static struct span
str(const char *s)
{
	return span_str(s);
}

static void
prefix(enum policy_section_id list, const char *text, uint64_t expires_s, uint32_t line)
{
	struct ipprefix p;
	cr_assert(ipprefix_parse(str(text), &p));
	struct policy_prefix row = {
		.addr = p.addr, .bits = p.bits, .line = line, .expires_s = expires_s};
	policy_build_row(t.build, list, &row, sizeof(row));
}

static void
addr(enum policy_section_id list, const char *text, enum policy_addr_kind kind, uint32_t line)
{
	struct policy_addr row = {policy_build_str(t.build, str(text)), kind, line};
	policy_build_row(t.build, list, &row, sizeof(row));
}

static void
setup(void)
{
	memset(&t, 0, sizeof(t));
	t.build = policy_build_open();
	cr_assert_not_null(t.build);
	policy_build_least(t.build);
	t.set = policy_build_settings(t.build);
	t.session.client = ipaddr_v4(0xc0000207); // 192.0.2.7
	t.tx = (struct event_tx){
		.from = SPAN_LIT("joe@a.example"), .rcpt = SPAN_LIT("u1@dest.example"), .scl = -1};
	t.ctx = (struct event_ctx){
		.session = &t.session, .tx = &t.tx, .now_s = 1000, .counters = &t.counters};
}

static void
teardown(void)
{
	free(t.image);
	policy_build_close(&t.build);
}

TestSuite(agents, .init = setup, .fini = teardown);

// Makes what was built so far the policy in force; the session goes on.
static void
apply(void)
{
	char mem[200];
	struct strbuf why;
	size_t size;
	strbuf_init(&why, mem, sizeof(mem));
	free(t.image);
	t.image = policy_build_finish(t.build, 1, &size);
	cr_assert_not_null(t.image);
	cr_assert_eq(policy_view_open(&t.view, t.image, size, &why), POLICY_OK, "%s", mem);
	t.ctx.policy = &t.view;
}

static enum action
raise(enum event event)
{
	t.ctx.event = event;
	t.ctx.scan = event == EVENT_END_OF_HEADERS || event == EVENT_END_OF_DATA ? &t.scan : NULL;
	return event_raise(&t.ctx, &t.v);
}

#define EXPECT_REPLY(code, enh, txt)                                                               \
	do {                                                                                       \
		cr_assert_eq(t.v.reply_code, code);                                                \
		cr_assert_str_eq(t.v.enhanced, enh);                                               \
		cr_assert_str_eq(t.v.text, txt);                                                   \
	} while (0)

Test(agents, nothing_listed_nothing_decided)
{
	apply();
	for (uint32_t e = 0; e < EVENT_COUNT; e++) {
		cr_assert_eq(raise((enum event)e), ACTION_NONE);
		cr_assert_eq(t.v.agent, AGENT_NONE);
		cr_assert_eq(t.counters.events[e], 1);
	}
	cr_assert_eq(t.tx.scl, 0);
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		for (uint32_t i = 0; i < ACTION_COUNT; i++)
			cr_assert_eq(t.counters.actions[a][i], 0);
}

Test(agents, connection_block_list_acts_at_rcpt)
{
	prefix(POLICY_IP_BLOCK, "192.0.2.0/24", 0, 12);
	t.set->connection_filtering_reject_response =
		policy_build_str(t.build, SPAN_LIT("{0} listed, go away {0}"));
	apply();
	cr_assert_eq(raise(EVENT_CONNECT), ACTION_NONE, "not cut at once");
	cr_assert_eq(raise(EVENT_MAIL), ACTION_NONE);
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	EXPECT_REPLY(550, "5.7.1", "192.0.2.7 listed, go away 192.0.2.7");
	cr_assert_eq(t.v.agent, AGENT_connection_filtering);
	cr_assert_str_eq(t.v.rule, "IP block list (line 12)");
	cr_assert_str_eq(t.v.evidence, "192.0.2.7");
	cr_assert_eq(t.counters.actions[AGENT_connection_filtering][ACTION_REJECT_COMMAND], 1);
	cr_assert_eq(raise(EVENT_END_OF_HEADERS), ACTION_REJECT_MESSAGE);
	t.session.client = ipaddr_v4(0xc0000307);
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
}

Test(agents, connection_lists_of_ipv6)
{
	prefix(POLICY_IP_BLOCK, "2001:db8::/32", 0, 12);
	prefix(POLICY_IP_ALLOW, "2001:db8:1::25", 0, 13);
	t.set->connection_filtering_reject_response =
		policy_build_str(t.build, SPAN_LIT("{0} is listed"));
	apply();
	cr_assert(ipaddr_parse(SPAN_LIT("2001:DB8:0:0::7"), &t.session.client));
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	EXPECT_REPLY(550, "5.7.1", "2001:db8::7 is listed");
	cr_assert_str_eq(t.v.rule, "IP block list (line 12)");
	cr_assert_str_eq(t.v.evidence, "2001:db8::7");
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8:1::25"), &t.session.client));
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db9::7"), &t.session.client));
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
}

Test(agents, connection_entry_expires)
{
	prefix(POLICY_IP_BLOCK, "192.0.2.7", 1001, 0);
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	cr_assert_str_eq(t.v.rule, "IP block list (added with the CLI)");
	t.ctx.now_s = 1001;
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
}

Test(agents, connection_change_acts_on_an_open_session)
{
	apply();
	cr_assert_eq(raise(EVENT_CONNECT), ACTION_NONE);
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
	prefix(POLICY_IP_BLOCK, "192.0.2.7", 0, 0);
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	prefix(POLICY_IP_ALLOW, "192.0.2.7", 0, 0);
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
	cr_assert(t.session.antispam_bypass);
	policy_build_agents(t.build)[AGENT_connection_filtering].enabled = 0;
	addr(POLICY_BLOCKED_SENDERS, "a.example", ADDR_DOMAIN, 1);
	apply();
	cr_assert_eq(raise(EVENT_MAIL), ACTION_REJECT_COMMAND, "its word counts no more");
}

Test(agents, allowed_address_skips_spam_filters_only)
{
	prefix(POLICY_IP_ALLOW, "192.0.2.0/24", 0, 3);
	prefix(POLICY_IP_BLOCK, "192.0.2.7", 0, 4);
	addr(POLICY_BLOCKED_SENDERS, "joe@a.example", ADDR_EXACT, 5);
	addr(POLICY_BLOCKED_RECIPIENTS, "u1@dest.example", ADDR_EXACT, 6);
	addr(POLICY_RECIPIENTS, "u1@dest.example", ADDR_EXACT, 7);
	t.set->recipient_filter_recipient_validation = 1;
	apply();
	cr_assert_eq(raise(EVENT_CONNECT), ACTION_NONE);
	cr_assert_str_eq(t.v.rule, "IP allow list (line 3)");
	cr_assert_str_eq(t.v.evidence, "192.0.2.7");
	cr_assert_eq(t.v.agent, AGENT_NONE);
	cr_assert_eq(raise(EVENT_MAIL), ACTION_NONE);
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
	t.tx.rcpt = SPAN_LIT("nobody@dest.example");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND, "validation stays");
	t.scan.bad_count = 1;
	t.tx.scl = 5; // of nobody's
	snprintf(t.scan.header_from, sizeof(t.scan.header_from), "joe@a.example");
	cr_assert_eq(raise(EVENT_END_OF_HEADERS), ACTION_NONE);
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_NONE);
	cr_assert(t.tx.scl_is_set);
	cr_assert_eq(t.tx.scl, -1);
	t.scan.name_count = 1;
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_REJECT_MESSAGE, "attachments stay");
	cr_assert_eq(t.v.agent, AGENT_attachment_filtering);
}

Test(agents, sender_blocked)
{
	addr(POLICY_BLOCKED_SENDERS, "Joe@A.example", ADDR_EXACT, 5);
	addr(POLICY_BLOCKED_SENDERS, "evil.example", ADDR_DOMAIN_AND_SUBDOMAINS, 6);
	apply();
	cr_assert_eq(raise(EVENT_MAIL), ACTION_REJECT_COMMAND);
	EXPECT_REPLY(554, "5.1.0", "Sender Denied");
	cr_assert(t.v.close);
	cr_assert_str_eq(t.v.rule, "blocked senders (line 5)");
	cr_assert_str_eq(t.v.evidence, "joe@a.example");
	t.tx.from = SPAN_LIT("x@sub.evil.example");
	cr_assert_eq(raise(EVENT_MAIL), ACTION_REJECT_COMMAND);
	cr_assert_str_eq(t.v.rule, "blocked domain (line 6)");
	t.tx.from = SPAN_LIT("jane@a.example");
	cr_assert_eq(raise(EVENT_MAIL), ACTION_NONE);
}

Test(agents, sender_blocked_in_header)
{
	addr(POLICY_BLOCKED_SENDERS, "evil.example", ADDR_DOMAIN, 6);
	apply();
	cr_assert_eq(raise(EVENT_END_OF_HEADERS), ACTION_NONE, "no From:");
	snprintf(t.scan.header_from, sizeof(t.scan.header_from), "boss@EVIL.example");
	cr_assert_eq(raise(EVENT_END_OF_HEADERS), ACTION_REJECT_MESSAGE);
	EXPECT_REPLY(554, "5.1.0", "Sender Denied");
	cr_assert_str_eq(t.v.evidence, "boss@EVIL.example");
}

Test(agents, sender_blank)
{
	apply();
	t.tx.from = SPAN_NONE;
	cr_assert_eq(raise(EVENT_MAIL), ACTION_NONE);
	t.set->sender_filter_blank_sender_blocking = 1;
	apply();
	cr_assert_eq(raise(EVENT_MAIL), ACTION_REJECT_COMMAND);
	cr_assert_str_eq(t.v.evidence, "<>");
	cr_assert_str_eq(t.v.rule, "blank sender");
}

Test(agents, sender_stamped)
{
	addr(POLICY_BLOCKED_SENDERS, "joe@a.example", ADDR_EXACT, 5);
	t.set->sender_filter_action = SENDER_ACTION_STAMP_STATUS;
	apply();
	cr_assert_eq(raise(EVENT_MAIL), ACTION_NONE);
	cr_assert(t.tx.sender_is_blocked);
	cr_assert_str_eq(t.v.rule, "blocked senders (line 5)");
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_NONE);
	cr_assert_str_eq(t.v.rule, "blocked senders (line 5)", "and again: no phrase was found");
	cr_assert_str_eq(t.tx.sender_rule, "blocked senders (line 5)");
	t.tx.from = SPAN_LIT("jane@a.example");
	cr_assert_eq(raise(EVENT_MAIL), ACTION_NONE);
	cr_assert(!t.tx.sender_is_blocked, "a new transaction");
}

Test(agents, recipient_blocked)
{
	addr(POLICY_BLOCKED_RECIPIENTS, "u1@dest.example", ADDR_EXACT, 9);
	apply();
	t.tx.rcpt = SPAN_LIT("U1@Dest.Example");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	EXPECT_REPLY(550, "5.1.1", "User unknown");
	cr_assert(t.v.tarpit);
	cr_assert(!t.v.close);
	cr_assert_str_eq(t.v.rule, "blocked recipients (line 9)");
	cr_assert_str_eq(t.v.evidence, "U1@Dest.Example");
	t.set->recipient_filter_block_list = 0;
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
}

Test(agents, recipient_validation)
{
	addr(POLICY_RECIPIENTS, "u1@dest.example", ADDR_EXACT, 9);
	apply();
	t.tx.rcpt = SPAN_LIT("u2@dest.example");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE, "off by default");
	t.set->recipient_filter_recipient_validation = 1;
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	EXPECT_REPLY(550, "5.1.1", "User unknown");
	cr_assert(t.v.tarpit);
	cr_assert_str_eq(t.v.rule, "not in the recipient table");
	t.session.direction = DIRECTION_OUTBOUND;
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE, "outbound goes anywhere");
	t.session.direction = DIRECTION_INBOUND;
	t.tx.rcpt = SPAN_LIT("U1@dest.example");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
	t.tx.rcpt = SPAN_LIT("Postmaster");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE);
	addr(POLICY_ACCEPTED_DOMAINS, "dest.example", ADDR_DOMAIN, 10);
	apply();
	t.tx.rcpt = SPAN_LIT("u2@other.example");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_NONE, "no domain of ours");
	t.tx.rcpt = SPAN_LIT("u2@dest.example");
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
}

static void
phrases(void)
{
	struct policy_phrase bad = {policy_build_str(t.build, SPAN_LIT("buy now")),
				    INFLUENCE_BAD_WORD, 41};
	struct policy_phrase good = {policy_build_str(t.build, SPAN_LIT("invoice 7")),
				     INFLUENCE_GOOD_WORD, 42};
	policy_build_row(t.build, POLICY_PHRASES, &bad, sizeof(bad));
	policy_build_row(t.build, POLICY_PHRASES, &good, sizeof(good));
}

Test(agents, content_bad_word)
{
	phrases();
	apply();
	t.scan.bad_count = 1;
	t.scan.bad[0].id = 0;
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_REJECT_MESSAGE);
	EXPECT_REPLY(550, "5.7.1", "Message rejected due to content restrictions");
	cr_assert_eq(t.tx.scl, 9);
	cr_assert_str_eq(t.v.rule, "BadWord phrase (line 41)");
	cr_assert_str_eq(t.v.evidence, "buy now");
	t.scan.bad[0].id = 500; // of another policy
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_REJECT_MESSAGE);
	cr_assert_str_eq(t.v.rule, "BadWord phrase");
	cr_assert_str_empty(t.v.evidence);
}

Test(agents, content_good_word_wins)
{
	phrases();
	apply();
	t.scan.bad_count = t.scan.good_count = 1;
	t.scan.good[0].id = 1;
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_NONE);
	cr_assert_eq(t.tx.scl, 0);
	cr_assert_str_eq(t.v.rule, "GoodWord phrase, wins over BadWord (line 42)");
	cr_assert_str_eq(t.v.evidence, "invoice 7");
}

Test(agents, content_thresholds)
{
	phrases();
	t.scan.bad_count = 1;
	t.set->content_filter_scl_reject = 0;
	apply();
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_NONE);
	t.set->content_filter_scl_reject = 1;
	t.set->content_filter_scl_delete = 1;
	apply();
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_DELETE_MESSAGE, "Delete comes before Reject");
	cr_assert_eq(t.v.reply_code, 0);
	cr_assert_str_eq(t.v.evidence, "buy now");
	t.scan.bad_count = 0;
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_NONE);
	t.set->content_filter_scl_reject_threshold = 0;
	apply();
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_REJECT_MESSAGE, ">=");
}

Test(agents, attachments)
{
	struct policy_name name = {policy_build_str(t.build, SPAN_LIT("*.exe")), 50};
	policy_build_row(t.build, POLICY_NAMES, &name, sizeof(name));
	struct policy_type type = {policy_build_str(t.build, SPAN_LIT("application/hta")), 60};
	policy_build_row(t.build, POLICY_TYPES, &type, sizeof(type));
	apply();
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_NONE);
	t.scan.type_count = 1;
	snprintf(t.scan.type[0].text, SCAN_NAME_SIZE, "application/hta");
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_REJECT_MESSAGE);
	EXPECT_REPLY(550, "5.7.1", "Message rejected due to unacceptable attachments");
	cr_assert_str_eq(t.v.rule, "blocked content type application/hta (line 60)");
	t.scan.name_count = 1;
	snprintf(t.scan.name[0].text, SCAN_NAME_SIZE, "Invoice\xe9.EXE");
	cr_assert_eq(raise(EVENT_END_OF_DATA), ACTION_REJECT_MESSAGE);
	cr_assert_str_eq(t.v.rule, "blocked file name *.exe (line 50)");
	cr_assert_str_eq(t.v.evidence, "Invoice\xe9.EXE", "the log shows it, no reply does");
}

static void
on_trace(void *ctx, enum event event, uint32_t agent, const struct verdict *v)
{
	(void)ctx;
	size_t n = strlen(t.trace);
	snprintf(t.trace + n, sizeof(t.trace) - n, "%s/%s/%s;", event_name(event),
		 agent == AGENT_NONE ? "-" : agent_name(agent), action_name(v->action));
}

Test(agents, priorities_and_the_first_decision)
{
	addr(POLICY_BLOCKED_RECIPIENTS, "u1@dest.example", ADDR_EXACT, 9);
	prefix(POLICY_IP_BLOCK, "192.0.2.7", 0, 12);
	t.ctx.trace = on_trace;
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	cr_assert_str_eq(t.trace,
			 "OnRcptCommand/-/None;OnRcptCommand/Connection Filtering/RejectCommand;");
	struct policy_agent *agents = policy_build_agents(t.build);
	uint32_t place = agents[AGENT_connection_filtering].priority;
	agents[AGENT_connection_filtering].priority = agents[AGENT_recipient_filter].priority;
	agents[AGENT_recipient_filter].priority = place;
	apply();
	t.trace[0] = '\0';
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	cr_assert_str_eq(t.trace,
			 "OnRcptCommand/-/None;OnRcptCommand/Recipient Filter/RejectCommand;");
	cr_assert_str_eq(t.v.text, "User unknown");
	policy_build_agents(t.build)[AGENT_recipient_filter].enabled = 0;
	apply();
	cr_assert_eq(raise(EVENT_RCPT), ACTION_REJECT_COMMAND);
	cr_assert_eq(t.v.agent, AGENT_connection_filtering);
}

Test(agents, verdict_texts)
{
	struct verdict v;
	verdict_init(&v);
	verdict_set(&v, ACTION_REJECT_COMMAND, 550, "5.7.1", SPAN_LIT("a\r\n250 {0}{0}{1}{"),
		    SPAN_LIT("x\0\xff"));
	cr_assert_str_eq(v.text, "a??250 x??x??{1}{");
	char big[600];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	verdict_set(&v, ACTION_REJECT_COMMAND, 550, "5.7.1", str(big), SPAN_NONE);
	cr_assert_eq(strlen(v.text), VERDICT_TEXT_SIZE - 1);
	verdict_set_rule(&v, big, 4294967295u);
	cr_assert_eq(strlen(v.rule), VERDICT_EVIDENCE_SIZE - 1);
	cr_assert_not_null(strstr(v.rule, "xx (line 4294967295)"));
	verdict_set_evidence(&v, str(big));
	cr_assert_eq(strlen(v.evidence), VERDICT_EVIDENCE_SIZE - 1);
	verdict_set_evidence(&v, SPAN_LIT("a\tb\nc\x7f"));
	cr_assert_str_eq(v.evidence, "a?b?c?");
}
