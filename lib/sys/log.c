/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

/* The one logger of the process: name and level are set once, before threads start. */
static const char *log_service = "mvpn";
static enum log_level log_level_max = LOG_INFO_;
static atomic_uint_fast64_t burst_second;
static atomic_uint burst_n, burst_held;

void log_init(const char *service, enum log_level level)
{
	log_service = service;
	log_level_max = level;
}

static void line_write(enum log_level level, const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	char line[600];
	int n = snprintf(line, sizeof(line), "%s %s: %s\n", names[level], log_service, text);

	if (n > 0 && write(STDERR_FILENO, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1) < 0)
		return; /* nowhere left to say it */
}

/* Has this second room for another line? Tells of held ones when a new second begins. */
static int burst_admits(void)
{
	uint64_t second = mono_now().ns / 1000000000u;
	uint64_t before = atomic_exchange(&burst_second, second);

	if (before != second) {
		unsigned int held = atomic_exchange(&burst_held, 0);

		atomic_store(&burst_n, 0);
		if (held > 0) {
			char text[64];

			snprintf(text, sizeof(text), "%u more lines in that second", held);
			line_write(LOG_WARN_, text);
		}
	}
	if (atomic_fetch_add(&burst_n, 1) < LOG_BURST)
		return 1;
	atomic_fetch_add(&burst_held, 1);
	return 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (level > log_level_max || !burst_admits())
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20)
			*p = ' '; /* one event, one line */
	line_write(level, text);
}
