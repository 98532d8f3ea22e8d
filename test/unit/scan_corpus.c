// SPDX-License-Identifier: Apache-2.0
// Runs the scan over mail that we did not write: no crash, no limit of ours in the way of ordinary
// mail, and the same result however each message is cut.
//
// POSTERN_CORPUS names the directory that holds the archives (mime-torture.tar.xz and others);
// without it the test is skipped and says so. The archives are unpacked to a temporary directory.
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/scan_rig.h"

#define MESSAGE_MAX (4u << 20)

static uint8_t message[2 * MESSAGE_MAX];
static struct rig r;
static uint32_t messages, marked;

static uint32_t
message_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint32_t n = 0;
	int c, before = 0;

	if (f == NULL)
		return 0;
	while ((c = fgetc(f)) != EOF && n < 2 * MESSAGE_MAX - 2) {
		if (c == '\n' && before != '\r')
			message[n++] = '\r';
		message[n++] = (uint8_t)c;
		before = c;
	}
	fclose(f);
	return n;
}

static int
file_check(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	static char whole[RIG_TRACE_SIZE], cut[RIG_TRACE_SIZE];
	static const uint8_t pieces[][2] = {{1, 1}, {73, 255}};
	struct scan_result result;
	struct strbuf b;
	uint32_t n;

	(void)ftw;
	if (kind != FTW_F || st->st_size > MESSAGE_MAX)
		return 0;
	n = message_read(path);
	rig_run(&r, span_of(message, n), NULL, 0, &result);
	strbuf_init(&b, whole, sizeof(whole));
	rig_trace(&result, &b);
	messages++;
	marked += result.causes != 0;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		rig_run(&r, span_of(message, n), pieces[i], 2, &result);
		strbuf_init(&b, cut, sizeof(cut));
		rig_trace(&result, &b);
		cr_assert_str_eq(cut, whole, "%s, pieces %zu", path, i);
	}
	return 0;
}

static bool
unpack(const char *archives, const char *name, const char *to)
{
	char path[512];
	pid_t pid;
	int status = 0;

	snprintf(path, sizeof(path), "%s/%s.tar.xz", archives, name);
	pid = fork();
	if (pid == 0) {
		execlp("tar", "tar", "-xJf", path, "-C", to, (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static int
file_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

Test(corpus, real_mail, .timeout = 280)
{
	static const char *const names[] = {"mime-torture", "mime-is-broken", "mail-samples",
					    "phishing-pot", "spamassassin-corpus"};
	const char *archives = getenv("POSTERN_CORPUS");
	char dir[] = "/tmp/postern-corpus-XXXXXX";

	if (archives == NULL || archives[0] == '\0') {
		fprintf(stderr,
			"skipped: POSTERN_CORPUS does not name the directory of the archives\n");
		cr_skip_test("POSTERN_CORPUS does not name the directory of the archives");
	}
	cr_assert_not_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		cr_assert(unpack(archives, names[i], dir), "%s/%s.tar.xz", archives, names[i]);
	rig_standard(&r);
	(void)nftw(dir, file_check, 16, FTW_PHYS);
	rig_close(&r);
	(void)nftw(dir, file_remove, 16, FTW_PHYS | FTW_DEPTH);
	cr_log_info("%u messages, %u marked", messages, marked);
	cr_assert_gt(messages, 1000);
	// Most of this is ordinary mail, some of it made to be odd: if everything is marked, marks
	// say nothing.
	cr_assert_lt(marked, messages / 2);
}
