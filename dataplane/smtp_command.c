// SPDX-License-Identifier: Apache-2.0
// Runs on the worker that owns the session; pure but for the caller's pool. All parsing goes
// forward through a span and looks at no byte outside it.

#include "dataplane/smtp_command.h"

#include <string.h>

static const struct smtp_refusal bad_helo = {501, "5.5.2",
					     "Syntax: HELO or EHLO with your host name"};
static const struct smtp_refusal bad_mail = {501, "5.5.2", "Syntax: MAIL FROM:<address>"};
static const struct smtp_refusal bad_rcpt = {501, "5.5.2", "Syntax: RCPT TO:<address>"};
static const struct smtp_refusal bad_sender = {501, "5.1.7", "Bad sender address syntax"};
static const struct smtp_refusal bad_recipient = {501, "5.1.3", "Bad recipient address syntax"};
static const struct smtp_refusal eight_bit = {553, "5.6.7",
					      "Address with 8-bit characters not supported"};
static const struct smtp_refusal bad_param = {555, "5.5.4",
					      "Parameter not recognized or not implemented"};
static const struct smtp_refusal bad_value = {501, "5.5.4", "Bad or repeated parameter value"};

// --- framing ---

// after_cr: the byte before `in` was a CR. *taken: how far it has looked.
static enum smtp_frame
frame_find(struct span in, bool after_cr, uint32_t *taken)
{
	CHECK(taken != NULL);
	for (uint32_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		*taken = i + 1;
		if (after_cr)
			return c == '\n' ? SMTP_FRAME_LINE : SMTP_FRAME_BARE_CR;
		if (c == '\n')
			return SMTP_FRAME_BARE_LF;
		if (c == 0)
			return SMTP_FRAME_NUL;
		after_cr = c == '\r';
	}
	*taken = in.n;
	return SMTP_FRAME_MORE;
}

static void
line_append(struct smtp_line *l, struct span s)
{
	OBJ_CHECK(l, SMTP_LINE_MAGIC);
	if (!l->is_long && s.n <= SMTP_LINE_MAX - (uint32_t)l->len) {
		memcpy(l->data + l->len, s.p, s.n);
		l->len = (uint16_t)(l->len + s.n);
	} else {
		l->is_long = true;
		l->len = 1;
		l->data[0] = s.p[s.n - 1];
	}
}

enum smtp_frame
smtp_line_take(struct smtp_line **buf, struct pool *pool, struct span in, uint32_t *taken,
	       struct span *line)
{
	CHECK(in.n > 0);
	struct smtp_line *l = *buf;
	bool after_cr = l != NULL && l->len > 0 && l->data[l->len - 1] == '\r';
	enum smtp_frame f = frame_find(in, after_cr, taken);
	CHECK(*taken > 0 && *taken <= in.n);
	struct span piece = span_sub(in, 0, *taken);
	if (f != SMTP_FRAME_LINE && f != SMTP_FRAME_MORE)
		return f;
	if (f == SMTP_FRAME_LINE && l == NULL) {
		*line = span_sub(piece, 0, piece.n - 2);
		return piece.n > SMTP_LINE_MAX ? SMTP_FRAME_LONG : SMTP_FRAME_LINE;
	}
	if (l == NULL) {
		l = pool_get(pool);
		if (l == NULL)
			return SMTP_FRAME_SHED;
		l->magic = SMTP_LINE_MAGIC;
		l->len = 0;
		l->is_long = false;
		*buf = l;
	}
	line_append(l, piece);
	if (f == SMTP_FRAME_MORE)
		return f;
	if (l->is_long)
		return SMTP_FRAME_LONG;
	CHECK(l->len >= 2);
	*line = span_of(l->data, l->len - 2u);
	return f;
}

void
smtp_line_done(struct smtp_line **buf, struct pool *pool)
{
	if (*buf == NULL)
		return;
	OBJ_CHECK(*buf, SMTP_LINE_MAGIC);
	pool_put(pool, *buf);
	*buf = NULL;
}

// --- verbs ---

struct verb_name {
	const char *name;
	enum smtp_verb verb;
};

static const struct verb_name verb_names[] = {
#define SMTP_VERB(id, name, event, check, effect, flags) {name, SMTP_VERB_##id},
#define SMTP_VERB_ABSENT(name) {name, SMTP_VERB_KNOWN},
#include "dataplane/smtp_verb.def"
#undef SMTP_VERB
#undef SMTP_VERB_ABSENT
};

const struct smtp_refusal smtp_line_too_long = {500, "5.5.2", "Line too long"};

static struct span
spaces_off(struct span s)
{
	while (s.n > 0 && s.p[0] == ' ')
		s = span_from(s, 1);
	while (s.n > 0 && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

void
smtp_command_parse(struct span line, struct smtp_command *cmd)
{
	*cmd = (struct smtp_command){.verb = SMTP_VERB_UNKNOWN};
	line = spaces_off(line);
	int64_t space = span_find(line, ' ');
	struct span name = space < 0 ? line : span_sub(line, 0, (uint32_t)space);
	cmd->args = spaces_off(span_from(line, name.n));
	for (size_t i = 0; i < ARRAY_LEN(verb_names); i++)
		if (span_eq_nocase(name, span_str(verb_names[i].name))) {
			cmd->verb = verb_names[i].verb;
			return;
		}
}

// --- paths ---

// Takes "WORD :" from the front, spaces allowed around the colon.
static bool
take_keyword(struct span *s, struct span word)
{
	if (!span_starts_nocase(*s, word))
		return false;
	struct span rest = spaces_off(span_from(*s, word.n));
	if (rest.n == 0 || rest.p[0] != ':')
		return false;
	*s = spaces_off(span_from(rest, 1));
	return true;
}

static bool
is_atext(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

// The length of the local part at the front; 0: bad. Dots may stand anywhere: people have such
// addresses.
static uint32_t
local_length(struct span s)
{
	uint32_t i = 0;
	if (s.n > 0 && s.p[0] == '"') {
		for (i = 1; i < s.n && s.p[i] != '"'; i++) {
			if (s.p[i] == '\\')
				i++;
			if (i >= s.n || s.p[i] < 0x20 || s.p[i] > 0x7e)
				return 0;
		}
		return i < s.n ? i + 1 : 0;
	}
	while (i < s.n && (is_atext(s.p[i]) || s.p[i] == '.'))
		i++;
	return i;
}

// The length of the domain at the front; 0: bad. Underscores are tolerated, empty labels are not.
static uint32_t
domain_length(struct span s)
{
	uint32_t i = 0;
	if (s.n > 0 && s.p[0] == '[') {
		for (i = 1; i < s.n && s.p[i] != ']'; i++)
			if (s.p[i] <= 0x20 || s.p[i] > 0x7e || s.p[i] == '[' || s.p[i] == '\\' ||
			    s.p[i] == '>' || s.p[i] == '<')
				return 0;
		return i < s.n && i > 1 ? i + 1 : 0;
	}
	bool at_label = true;
	for (; i < s.n; i++) {
		uint8_t c = s.p[i];
		bool is_alnum =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (c == '.' && at_label)
			return 0;
		if (!is_alnum && c != '-' && c != '_' && c != '.')
			break;
		at_label = c == '.';
	}
	return at_label ? 0 : i;
}

// Skips "@a,@b:" (RFC 5321 appendix C: accepted and ignored). False: bad.
static bool
skip_route(struct span *s)
{
	while (s->n > 0 && s->p[0] == '@') {
		uint32_t n = domain_length(span_from(*s, 1));
		if (n == 0 || n + 1 >= s->n)
			return false;
		uint8_t c = s->p[n + 1];
		*s = span_from(*s, n + 2);
		if (c == ':')
			return true;
		if (c != ',' || s->n == 0 || s->p[0] != '@')
			return false;
	}
	return true;
}

enum path_kind { PATH_SENDER, PATH_RECIPIENT };

// Takes "<...>" from the front of *s; the address goes to *out.
static const struct smtp_refusal *
take_path(struct span *s, enum path_kind kind, struct span *out)
{
	const struct smtp_refusal *bad = kind == PATH_SENDER ? &bad_sender : &bad_recipient;
	for (uint32_t i = 0; i < s->n; i++)
		if (s->p[i] >= 0x80)
			return &eight_bit;
	if (s->n < 2 || s->p[0] != '<')
		return bad;
	struct span p = span_from(*s, 1);
	if (p.p[0] == '>') {
		*out = span_sub(p, 0, 0);
		*s = span_from(p, 1);
		return kind == PATH_SENDER ? NULL : bad;
	}
	if (!skip_route(&p))
		return bad;
	uint32_t local = local_length(p);
	if (local == 0 || local > SMTP_LOCAL_MAX || local >= p.n)
		return bad;
	uint32_t n = local;
	if (p.p[local] == '@') {
		uint32_t domain = domain_length(span_from(p, local + 1));
		if (domain == 0)
			return bad;
		n = local + 1 + domain;
	} else if (kind != PATH_RECIPIENT ||
		   !span_eq_nocase(span_sub(p, 0, n), SPAN_LIT("postmaster"))) {
		return bad;
	}
	if (n > SMTP_ADDRESS_MAX || n >= p.n || p.p[n] != '>')
		return bad;
	*out = span_sub(p, 0, n);
	*s = span_from(p, n + 1);
	return NULL;
}

struct span
smtp_address_domain(struct span address)
{
	int64_t at = span_rfind(address, '@');
	// An '@' inside quotes is never the last one before the end of the quotes: those end in
	// '"'.
	if (at < 0 || address.p[address.n - 1] == '"')
		return SPAN_NONE;
	return span_from(address, (uint32_t)at + 1);
}

// --- the commands with arguments ---

const struct smtp_refusal *
smtp_parse_helo(struct smtp_command *cmd)
{
	struct span s = cmd->args;
	if (s.n == 0 || s.n > SMTP_HELO_MAX)
		return &bad_helo;
	for (uint32_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] > 0x7e)
			return &bad_helo;
	cmd->helo = s;
	return NULL;
}

static const struct smtp_refusal *
mail_param(struct smtp_command *cmd, struct span param, bool with_8bitmime, uint32_t *seen)
{
	int64_t eq = span_find(param, '=');
	struct span key = eq < 0 ? param : span_sub(param, 0, (uint32_t)eq);
	struct span value = eq < 0 ? SPAN_NONE : span_from(param, (uint32_t)eq + 1);
	if (span_eq_nocase(key, SPAN_LIT("SIZE"))) {
		// 20 digits at most (RFC 1870); what is larger than we can count is too large
		// anyway.
		if ((*seen & 1) || value.n == 0 || value.n > 20)
			return &bad_value;
		*seen |= 1;
		for (uint32_t i = 0; i < value.n; i++)
			if (value.p[i] < '0' || value.p[i] > '9')
				return &bad_value;
		if (!span_u64(value, UINT64_MAX, &cmd->size))
			cmd->size = UINT64_MAX;
		return NULL;
	}
	if (span_eq_nocase(key, SPAN_LIT("BODY")) && with_8bitmime) {
		if (*seen & 2)
			return &bad_value;
		*seen |= 2;
		if (span_eq_nocase(value, SPAN_LIT("7BIT")))
			cmd->body = SMTP_BODY_7BIT;
		else if (span_eq_nocase(value, SPAN_LIT("8BITMIME")))
			cmd->body = SMTP_BODY_8BITMIME;
		else
			return &bad_value;
		return NULL;
	}
	return &bad_param;
}

const struct smtp_refusal *
smtp_parse_mail(struct smtp_command *cmd, bool with_8bitmime)
{
	struct span s = cmd->args;
	cmd->size = 0;
	cmd->body = SMTP_BODY_NONE;
	if (!take_keyword(&s, SPAN_LIT("FROM")))
		return &bad_mail;
	const struct smtp_refusal *no = take_path(&s, PATH_SENDER, &cmd->address);
	if (no != NULL)
		return no;
	if (s.n > 0 && s.p[0] != ' ')
		return &bad_sender;
	uint32_t seen = 0;
	for (uint32_t i = 0; i < SMTP_PARAMS_MAX; i++) {
		s = spaces_off(s);
		if (s.n == 0)
			return NULL;
		int64_t space = span_find(s, ' ');
		struct span param = space < 0 ? s : span_sub(s, 0, (uint32_t)space);
		no = mail_param(cmd, param, with_8bitmime, &seen);
		if (no != NULL)
			return no;
		s = span_from(s, param.n);
	}
	return spaces_off(s).n == 0 ? NULL : &bad_param;
}

const struct smtp_refusal *
smtp_parse_rcpt(struct smtp_command *cmd)
{
	struct span s = cmd->args;
	if (!take_keyword(&s, SPAN_LIT("TO")))
		return &bad_rcpt;
	const struct smtp_refusal *no = take_path(&s, PATH_RECIPIENT, &cmd->address);
	if (no != NULL)
		return no;
	if (s.n > 0 && s.p[0] != ' ')
		return &bad_recipient;
	return spaces_off(s).n == 0 ? NULL : &bad_param;
}
