// SPDX-License-Identifier: Apache-2.0
// config_read: what the parts of the configuration reader share. Nobody else includes it.
//
// config.c opens the file and owns the result, config_read.c walks sections and scalar options,
// config_list.c reads the lists, config_check.c looks at the whole. Every reading function reports
// its own mistakes and goes on; memory is the config's. Out of memory sets `no_memory`.
#pragma once

#include "control/config.h"
#include "control/yaml.h"

struct reader {
	const struct yaml_tree *t;
	struct config *c;
	struct diag_list *d;
	uint64_t now_s;
	bool no_memory;
	uint32_t ports_read, cores_read, listeners_read,
		backends_read;     // rows, wrong ones too (a wrong list: 1)
	bool has_names, has_types; // the file gives these lists, so their defaults do not apply
	bool full;                 // the list that is being read has as many rows as it may
	struct yaml_place machine; // where the section is; 0: nowhere
	struct yaml_place agent_place[AGENT_COUNT]; // in agents.order; 0: not there
	bool is_disabled[AGENT_COUNT];
	uint32_t ordered;         // agents placed by agents.order
	uint32_t addr_kind;       // of the list of senders that is being read
	struct config_port *port; // whose addresses are being read
	char path[96];            // of what is being read, for messages: "limits.message_bytes_max"
};

#define READ_ERROR(r, node, ...)                                                                   \
	do {                                                                                       \
		struct yaml_place at_ = yaml_tree_place((r)->t, (node));                           \
		diag_error((r)->d, at_.line, at_.column, __VA_ARGS__);                             \
	} while (0)
#define READ_WARNING(r, node, ...)                                                                 \
	do {                                                                                       \
		struct yaml_place at_ = yaml_tree_place((r)->t, (node));                           \
		diag_warning((r)->d, at_.line, at_.column, __VA_ARGS__);                           \
	} while (0)

// No memory, or so many mistakes that looking for more only costs time.
#define READ_MISTAKES_MAX (10u * DIAG_MAX)
bool reader_gives_up(const struct reader *r);

// config.c: memory. NULL: none left, or the list is full (`full`; said once, at `node`).
const char *reader_copy(struct reader *r, struct span s, bool lower);
#define X(field, type, most) type *reader_add_##field(struct reader *r, yaml_ref node);
CONFIG_LISTS(X)
#undef X

// config_read.c
void reader_path(struct reader *r, const char *section, const char *key);
must_use bool read_text(struct reader *r, yaml_ref n,
			struct span *out); // a value that is not nothing
must_use bool read_u32(struct reader *r, yaml_ref n, uint32_t min, uint32_t max, bool bytes,
		       uint32_t *out);
must_use bool read_choice(struct reader *r, yaml_ref n, const char *const *names, uint32_t count,
			  uint32_t *out);
// Words that are near to a wrong one.
struct nearest {
	struct span word;
	const char *best;
	uint32_t distance;
};
void nearest_init(struct nearest *s, struct span word);
void nearest_offer(struct nearest *s, const char *word);
const char *nearest_hint(const struct nearest *s,
			 struct strbuf *out); // "; did you mean "x"?" or ""
// A row of named values.
struct row_key {
	const char *name;
	bool is_required;
	yaml_ref value; // found: set by read_row
};
must_use bool read_row(struct reader *r, yaml_ref n, struct row_key *keys, uint32_t count);
typedef void (*read_fn)(struct reader *r, yaml_ref n);
bool read_items(struct reader *r, yaml_ref n, read_fn item); // false: not a list, said
must_use bool read_root(struct reader *r, yaml_ref n);       // false: nothing in it to look at

// config_list.c
struct list_key {
	const char *section, *key; // section "": of the file itself
	read_fn read;
};
extern const struct list_key config_list_keys[];
extern const uint32_t config_list_key_count;

// config_check.c: what can only be seen when all is read.
void check_config(struct reader *r);
