// SPDX-License-Identifier: Apache-2.0
// cli_tail: `postern log tail`: prints lines of the message log, and with -f goes on.
//
// Who calls it: cli.c. Memory: its own. What can go wrong: posternd restarts while it follows: it
// connects again and goes on at its place; without -f that is an error like any other.
#pragma once

#include "control/cli_args.h"
#include "control/cli_client.h"

// The exit status.
int cli_tail_run(struct cli_client *client, const struct cli_request *r);
