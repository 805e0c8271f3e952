/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs name states and counts, never parties: no address, key, name or per-session figure.
 * One line per event on stderr; more than LOG_BURST a second are counted instead. */
#ifndef SYS_LOG_H
#define SYS_LOG_H

enum log_level {
	LOG_ERROR_,
	LOG_WARN_,
	LOG_INFO_,
	LOG_DEBUG_
};

#define LOG_BURST 20 /* lines a second: what a person or a disk can take */

void log_init(const char *service, enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR_, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN_, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO_, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG_, __VA_ARGS__)

#endif
