// SPDX-License-Identifier: Apache-2.0
// yaml: a YAML text as a tree whose nodes know their place; the one file here that knows libyaml.
//
// What for: the configuration reader walks the tree and reports every mistake with line and column.
// Who calls it: posternd, in config*.c. Memory: heap, owned by the tree; texts are borrowed from it
// and may hold any byte, NUL too. What can go wrong: wrong syntax, anchors, aliases, tags, a second
// document, nesting beyond CONFIG_DEPTH_MAX, more nodes than CONFIG_NODES_MAX: the result is NULL
// and the list says why. Aliases are refused because a few lines of them unfold to gigabytes.
#pragma once

#include "control/diag.h"

struct yaml_tree;

enum yaml_kind { YAML_KIND_TEXT, YAML_KIND_LIST, YAML_KIND_MAP };

typedef int yaml_ref; // a node of a tree; YAML_REF_NONE: none
#define YAML_REF_NONE 0

struct yaml_place {
	uint32_t line, column; // from 1
};

struct yaml_tree *must_use yaml_tree_open(const char *text, size_t size, struct diag_list *d);
void yaml_tree_close(struct yaml_tree **t);
yaml_ref yaml_tree_root(const struct yaml_tree *t);
enum yaml_kind yaml_tree_kind(const struct yaml_tree *t, yaml_ref n);
const char *yaml_kind_name(enum yaml_kind k); // "a value", "a list", "a mapping"
struct yaml_place yaml_tree_place(const struct yaml_tree *t, yaml_ref n);
struct span yaml_tree_text(const struct yaml_tree *t, yaml_ref n); // of a TEXT
bool yaml_tree_is_null(const struct yaml_tree *t, yaml_ref n); // nothing, ~ or null, not in quotes
uint32_t yaml_tree_count(const struct yaml_tree *t, yaml_ref n); // items of a LIST, pairs of a MAP
yaml_ref yaml_tree_item(const struct yaml_tree *t, yaml_ref n, uint32_t i);
yaml_ref yaml_tree_key(const struct yaml_tree *t, yaml_ref n, uint32_t i);
yaml_ref yaml_tree_value(const struct yaml_tree *t, yaml_ref n, uint32_t i);
