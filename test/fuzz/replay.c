// SPDX-License-Identifier: Apache-2.0
// replay: runs a fuzz target over given files without libFuzzer, so that every compiler and every
// variant can run the seeds. Arguments are files, or directories whose files are taken in order of
// name. Prints how many inputs ran; fails when there were none, since a test that runs nothing
// proves nothing.
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define INPUT_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

static int
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		return -1;
	}
	struct stat st;
	int rc = -1;
	if (fstat(fileno(f), &st) == 0 && st.st_size >= 0 && (size_t)st.st_size <= INPUT_MAX) {
		size_t size = (size_t)st.st_size;
		// Of just that size, so that the sanitizer sees a read beyond it.
		uint8_t *data = malloc(size > 0 ? size : 1);
		if (data != NULL && fread(data, 1, size, f) == size) {
			(void)LLVMFuzzerTestOneInput(data, size);
			inputs++;
			rc = 0;
		}
		free(data);
	}
	fclose(f);
	if (rc != 0)
		fprintf(stderr, "%s: cannot be read\n", path);
	return rc;
}

static int
is_input(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static int
run_directory(const char *path)
{
	struct dirent **list;
	int n = scandir(path, &list, is_input, alphasort);
	if (n < 0) {
		perror(path);
		return -1;
	}
	int rc = 0;
	for (int i = 0; i < n; i++) {
		char file[PATH_MAX];
		int len = snprintf(file, sizeof(file), "%s/%s", path, list[i]->d_name);
		if (len < 0 || (size_t)len >= sizeof(file) || run_file(file) != 0)
			rc = -1;
		free(list[i]);
	}
	free(list);
	return rc;
}

int
main(int argc, char **argv)
{
	int rc = 0;
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) != 0) {
			perror(argv[i]);
			rc = -1;
		} else if ((S_ISDIR(st.st_mode) ? run_directory(argv[i]) : run_file(argv[i])) !=
			   0) {
			rc = -1;
		}
	}
	printf("%lu inputs\n", inputs);
	return rc == 0 && inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
