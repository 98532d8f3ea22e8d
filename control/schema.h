// SPDX-License-Identifier: Apache-2.0
// schema: every scalar option as data: its section, key, kind, bounds, default and help.
//
// What for: setting.def is the one place where an option is written; this turns its rows into a
// table that the reader, the compiler and the CLI loop over. Who calls it: posternd. Memory:
// constant. What can go wrong: nothing; an index out of range is a bug (CHECK).
#pragma once

#include "control/abi/policy.h"

enum setting_id {
#define SETTING_U32(section, key, min, max, def, unit, help) SETTING_##section##_##key,
#define SETTING_BOOL(section, key, def, help) SETTING_##section##_##key,
#define SETTING_TEXT(section, key, max, def, help) SETTING_##section##_##key,
#define SETTING_CHOICE(section, key, choices, def, help) SETTING_##section##_##key,
#include "control/abi/setting.def"
#undef SETTING_U32
#undef SETTING_BOOL
#undef SETTING_TEXT
#undef SETTING_CHOICE
	SETTING_COUNT
};

enum setting_kind { SETTING_KIND_U32, SETTING_KIND_BOOL, SETTING_KIND_TEXT, SETTING_KIND_CHOICE };

struct setting {
	const char *section, *key;
	enum setting_kind kind;
	uint32_t min, max; // U32: of the value; TEXT: max is the longest in bytes
	uint32_t number;   // the default of U32, BOOL, CHOICE
	const char *text;  // the default of TEXT
	const char *unit;  // U32, else ""
	const char *help;
	const char *const *choice; // CHOICE: names in the order of the enum, NULL-terminated
	uint32_t choice_count;
	size_t offset; // in struct policy_settings
};

// The value of one option: a number, or a text (borrowed, NUL-terminated).
struct setting_value {
	uint32_t number;
	const char *text;
	uint32_t line, column; // where the file gives it; 0: the default
};

const struct setting *schema_setting(enum setting_id id);
bool schema_is_restart(enum setting_id id); // a change needs a restart of the dataplane
struct setting_value schema_default(enum setting_id id);
must_use bool schema_find(struct span section, struct span key, enum setting_id *out);
bool schema_has_section(struct span section);
// The value as it is written in the file: 4096, true, reject, some text.
void schema_format(enum setting_id id, const struct setting_value *v, struct strbuf *out);
// How far two words are apart (insert, delete, change, swap), ASCII case ignored; more than `most`:
// most + 1.
uint32_t schema_distance(struct span a, struct span b, uint32_t most);
