// SPDX-License-Identifier: Apache-2.0
// oplog: posternd's lines for operators, on stderr with the time, for the journal or a terminal.
//
// Who calls it: posternd only. Memory: none. What can go wrong: stderr is gone: the line is lost
// and nothing else happens. Control bytes in a line are shown as `?`, so a text from elsewhere
// cannot make a second line.
#pragma once

#include "control/base/check.h"

enum oplog_level { OPLOG_INFO, OPLOG_WARNING, OPLOG_ERROR };

void oplog(enum oplog_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
