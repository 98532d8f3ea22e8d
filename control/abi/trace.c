// SPDX-License-Identifier: Apache-2.0
#include "control/abi/trace.h"

static const struct {
	const char *name, *fields;
} kinds[TRACE_KIND_COUNT] = {
#define TRACE(id, name, fields) {name, fields},
#include "control/abi/trace.def"
#undef TRACE
};

const char *
trace_kind_name(uint32_t kind)
{
	return kind > TRACE_NONE && kind < TRACE_KIND_COUNT ? kinds[kind].name : "?";
}

const char *
trace_fields(uint32_t kind)
{
	return kind < TRACE_KIND_COUNT ? kinds[kind].fields : "";
}
