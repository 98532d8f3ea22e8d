// SPDX-License-Identifier: Apache-2.0
// rfc5322: header fields: which one it is, and the address that From: names.
//
// Who calls it: the scan, on its worker, with one unfolded field at a time. Memory: the caller's.
// What can go wrong: a line that is no field is FIELD_NONE; an address list that two readers could
// read differently, or that holds no address, says so in `odd`. Time is linear in the field.
#pragma once

#include "control/base/span.h"
#include "control/base/strbuf.h"

enum rfc5322_field {
	FIELD_NONE, // no colon, or no name before it
	FIELD_OTHER,
	FIELD_FROM,
	FIELD_RECEIVED,
	FIELD_SUBJECT,
	FIELD_CONTENT_TYPE,
	FIELD_CONTENT_ENCODING,
	FIELD_CONTENT_DISPOSITION,
	FIELD_COUNT
};

// *name_is_odd: blanks or other letters that do not belong into a name; some readers then see no
// field.
enum rfc5322_field rfc5322_field_split(struct span line, struct span *value, bool *name_is_odd);

struct rfc5322_from {
	uint32_t count; // mailboxes with an address
	bool odd;       // unclosed quote, comment or bracket; two brackets in one mailbox
};

// Adds the addr-spec of the first mailbox to `out`: without comments and blanks, as written
// otherwise.
struct rfc5322_from rfc5322_from_parse(struct span value, struct strbuf *out);
