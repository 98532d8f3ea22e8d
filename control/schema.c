// SPDX-License-Identifier: Apache-2.0
// schema: setting.def as a table. See schema.h.
#include "control/schema.h"

#include <string.h>

// The names of the choices, in the order of their enums in policy.h. A new enum needs an array
// here, named choice_ and the third column of its rows.
static const char *const choice_failure[] = {"pass", "defer", "reject", NULL};
static const char *const choice_sender_action[] = {"reject", "stamp_status", NULL};
static_assert(ARRAY_LEN(choice_failure) == FAILURE_COUNT + 1, "one name a value");
static_assert(ARRAY_LEN(choice_sender_action) == SENDER_ACTION_COUNT + 1, "one name a value");

// Defaults of choices are written by their enum's short name.
#define CHOICE_VALUE_failure(name) FAILURE_##name
#define CHOICE_VALUE_sender_action(name) SENDER_ACTION_##name
#define FIELD(section, key) offsetof(struct policy_settings, section##_##key)

static const struct setting settings[SETTING_COUNT] = {
#define SETTING_U32(s, k, lo, hi, def, u, h)                                                       \
	{.section = #s,                                                                            \
	 .key = #k,                                                                                \
	 .kind = SETTING_KIND_U32,                                                                 \
	 .min = lo,                                                                                \
	 .max = hi,                                                                                \
	 .number = def,                                                                            \
	 .unit = u,                                                                                \
	 .help = h,                                                                                \
	 .offset = FIELD(s, k)},
#define SETTING_BOOL(s, k, def, h)                                                                 \
	{.section = #s,                                                                            \
	 .key = #k,                                                                                \
	 .kind = SETTING_KIND_BOOL,                                                                \
	 .max = 1,                                                                                 \
	 .number = def,                                                                            \
	 .unit = "",                                                                               \
	 .help = h,                                                                                \
	 .offset = FIELD(s, k)},
#define SETTING_TEXT(s, k, longest, def, h)                                                        \
	{.section = #s,                                                                            \
	 .key = #k,                                                                                \
	 .kind = SETTING_KIND_TEXT,                                                                \
	 .max = longest,                                                                           \
	 .text = def,                                                                              \
	 .unit = "",                                                                               \
	 .help = h,                                                                                \
	 .offset = FIELD(s, k)},
#define SETTING_CHOICE(s, k, choices, def, h)                                                      \
	{.section = #s,                                                                            \
	 .key = #k,                                                                                \
	 .kind = SETTING_KIND_CHOICE,                                                              \
	 .max = ARRAY_LEN(choice_##choices) - 2,                                                   \
	 .number = CHOICE_VALUE_##choices(def),                                                    \
	 .unit = "",                                                                               \
	 .help = h,                                                                                \
	 .choice = choice_##choices,                                                               \
	 .choice_count = ARRAY_LEN(choice_##choices) - 1,                                          \
	 .offset = FIELD(s, k)},
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
};

const struct setting *
schema_setting(enum setting_id id)
{
	CHECK((uint32_t)id < SETTING_COUNT);
	return &settings[id];
}

bool
schema_is_restart(enum setting_id id)
{
	// The whole section is read once, when the dataplane sizes its memory.
	return strcmp(schema_setting(id)->section, "machine") == 0;
}

struct setting_value
schema_default(enum setting_id id)
{
	const struct setting *s = schema_setting(id);

	return (struct setting_value){.number = s->number, .text = s->text};
}

bool
schema_find(struct span section, struct span key, enum setting_id *out)
{
	CHECK(out != NULL);
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		if (span_eq(section, span_str(settings[i].section)) &&
		    span_eq(key, span_str(settings[i].key))) {
			*out = i;
			return true;
		}
	}
	return false;
}

bool
schema_has_section(struct span section)
{
	for (uint32_t i = 0; i < SETTING_COUNT; i++) {
		if (span_eq(section, span_str(settings[i].section)))
			return true;
	}
	return false;
}

void
schema_format(enum setting_id id, const struct setting_value *v, struct strbuf *out)
{
	const struct setting *s = schema_setting(id);

	CHECK(v != NULL);
	switch (s->kind) {
	case SETTING_KIND_U32:
		strbuf_add_u64(out, v->number);
		return;
	case SETTING_KIND_BOOL:
		strbuf_add_str(out, v->number != 0 ? "true" : "false");
		return;
	case SETTING_KIND_TEXT:
		CHECK(v->text != NULL);
		strbuf_add_str(out, v->text);
		return;
	case SETTING_KIND_CHOICE:
		CHECK(v->number < s->choice_count);
		strbuf_add_str(out, s->choice[v->number]);
		return;
	}
}

// Damerau's distance with adjacent swaps, over three rows. Words are keys: short by nature.
#define WORD_MAX 64

uint32_t
schema_distance(struct span a, struct span b, uint32_t most)
{
	uint32_t row[3][WORD_MAX + 1];

	if (a.n > WORD_MAX || b.n > WORD_MAX)
		return most + 1;
	for (uint32_t j = 0; j <= b.n; j++)
		row[0][j] = j;
	for (uint32_t i = 1; i <= a.n; i++) {
		uint32_t *now = row[i % 3], *up = row[(i + 2) % 3], *two_up = row[(i + 1) % 3];
		now[0] = i;
		for (uint32_t j = 1; j <= b.n; j++) {
			bool same = ascii_lower(a.p[i - 1]) == ascii_lower(b.p[j - 1]);
			uint32_t best = MIN(up[j] + 1, now[j - 1] + 1);
			best = MIN(best, up[j - 1] + !same);
			if (i > 1 && j > 1 && ascii_lower(a.p[i - 1]) == ascii_lower(b.p[j - 2]) &&
			    ascii_lower(a.p[i - 2]) == ascii_lower(b.p[j - 1]))
				best = MIN(best, two_up[j - 2] + 1);
			now[j] = best;
		}
	}
	return MIN(row[a.n % 3][b.n], most + 1);
}
