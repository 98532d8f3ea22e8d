// SPDX-License-Identifier: Apache-2.0
#include "control/oplog.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "control/log_writer.h"

void
oplog(enum oplog_level level, const char *fmt, ...)
{
	static const char *const names[] = {"", "warning: ", "error: "};
	char text[1024], line[1200];
	struct timespec ts;
	struct strbuf b;
	va_list ap;

	CHECK((uint32_t)level < ARRAY_LEN(names));
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	for (char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	strbuf_init(&b, line, sizeof(line));
	log_time_format(&b, (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
	strbuf_addf(&b, " posternd: %s%s\n", names[level], text);
	ssize_t written = write(STDERR_FILENO, b.p, b.len);
	(void)written; // nowhere to say it
}
