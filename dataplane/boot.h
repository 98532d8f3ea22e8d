// SPDX-License-Identifier: Apache-2.0
// boot: brings the dataplane up stage by stage, keeps it supplied with policies, and takes it down.
//
// What for: everything that may open files, allocate, wait or fail happens here, before the first
// packet. Who calls it: main. It runs in the main thread; each worker's loop runs on its own core.
// Memory: one struct boot; what workers own comes from their node. What can go wrong: a stage
// fails: its reason goes to stderr and to the region (REGION_FAILED), the stages done before are
// undone, exit 1. Wrong arguments: exit 2. After boot no file and no socket is opened, and a dead
// posternd changes nothing.
#pragma once

#include "control/base/check.h"

int boot_run(int argc, char **argv); // the process's exit status
