// SPDX-License-Identifier: Apache-2.0
// One posternd a run directory and a state directory.
#include "control/dir_lock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dirs[3][64];

static void
setup(void)
{
	for (uint32_t i = 0; i < 3; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "/tmp/control_dir_lock.XXXXXX");
		cr_assert_not_null(mkdtemp(dirs[i]));
	}
}

static void
teardown(void)
{
	char path[256];

	for (uint32_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/posternd.lock", dirs[i]);
		(void)unlink(path);
		(void)rmdir(dirs[i]);
	}
}

TestSuite(control_dir_lock, .init = setup, .fini = teardown);

static bool
take(struct dir_lock *l, const char *run, const char *state, char said[512])
{
	struct strbuf why;

	strbuf_init(&why, said, 512);
	bool ok = dir_lock_take(l, run, state, &why);
	cr_assert(ok == (why.len == 0), "%s", said);
	return ok;
}

Test(control_dir_lock, state_directory_belongs_to_one)
{
	struct dir_lock a, b, c;
	char said[512];

	cr_assert(take(&a, dirs[0], dirs[2], said));
	cr_assert(!take(&b, dirs[1], dirs[2], said));
	cr_assert_not_null(strstr(said, "state directory"), "%s", said);
	cr_assert_not_null(strstr(said, dirs[2]), "%s", said);
	cr_assert(take(&c, dirs[1], dirs[1], said), "the refused one has let its run directory go");
	dir_lock_drop(&c);
	dir_lock_drop(&a);
	cr_assert(take(&b, dirs[1], dirs[2], said));
	dir_lock_drop(&b);
}

Test(control_dir_lock, run_directory_belongs_to_one)
{
	struct dir_lock a, b;
	char said[512];

	cr_assert(take(&a, dirs[0], dirs[0], said), "one directory for both");
	cr_assert(!take(&b, dirs[0], dirs[1], said));
	cr_assert_not_null(strstr(said, "run directory"), "%s", said);
	dir_lock_drop(&a);
	cr_assert(!take(&a, "/no/such/directory", dirs[1], said));
	cr_assert_not_null(strstr(said, "/no/such/directory/posternd.lock"), "%s", said);
}
