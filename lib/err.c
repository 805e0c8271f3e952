/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "err.h"

#include <stdlib.h>

const char *err_str(enum err e)
{
	switch (e) {
	case OK:
		return "ok";
	case ERR_MALFORMED:
		return "malformed";
	case ERR_DENIED:
		return "denied";
	case ERR_STALE:
		return "stale";
	case ERR_FULL:
		return "full";
	case ERR_TOO_LARGE:
		return "too large";
	case ERR_IO:
		return "i/o error";
	case ERR_TIMEOUT:
		return "timed out";
	case ERR_UNAVAILABLE:
		return "unavailable";
	case ERR_NOT_FOUND:
		return "not found";
	case ERR_INVALID:
		return "invalid";
	case ERR_OVERFLOW:
		return "overflow";
	}
	return "unknown error";
}
