// SPDX-License-Identifier: Apache-2.0
// main: postern-dataplane.

#include "dataplane/boot.h"

int
main(int argc, char **argv)
{
	return boot_run(argc, argv);
}
