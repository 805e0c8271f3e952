/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one error type. 0 is success, all else negative; a function logs or returns its error. */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#define NODISCARD __attribute__((warn_unused_result))

/* Four kinds, four answers (HACKING.md): the peer's fault, a limit, the environment, our bug. */
enum err {
	OK = 0,
	/* the peer's fault: drop and count */
	ERR_MALFORMED = -1, /* does not parse, wrong size, wrong type */
	ERR_DENIED = -2,    /* signature, key, role or policy says no */
	ERR_STALE = -3,	    /* expired, replayed, old sequence number */
	/* a limit: shed and count */
	ERR_FULL = -4,	   /* a table, queue or budget is full */
	ERR_TOO_LARGE = -5, /* over a size bound */
	/* the environment: retry with back-off, then say it */
	ERR_IO = -6,	      /* a system call or library failed; errno may tell */
	ERR_TIMEOUT = -7,     /* no answer before the deadline */
	ERR_UNAVAILABLE = -8, /* what is needed is not there now */
	/* the caller's question */
	ERR_NOT_FOUND = -9,
	ERR_INVALID = -10, /* an argument or a setting is not valid */
	ERR_OVERFLOW = -11 /* checked arithmetic would wrap */
};

/* Words for people, static storage, never NULL. */
const char *err_str(enum err e);

/* For functions that own nothing (parsers): hand an error on. */
#define TRY(expr)                       \
	do {                            \
		enum err try_e = (expr); \
		if (try_e != OK)        \
			return try_e;   \
	} while (0)

/* Our own bug: say where and abort, the supervisor restarts us. Never for input. */
_Noreturn void bug_at(const char *file, int line, const char *what);
#define BUG_ON(cond)                                     \
	do {                                             \
		if (__builtin_expect(!!(cond), 0))       \
			bug_at(__FILE__, __LINE__, #cond); \
	} while (0)

#endif
