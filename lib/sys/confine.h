/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a service gives up once its sockets, keys and files are open. */
#ifndef SYS_CONFINE_H
#define SYS_CONFINE_H

#include "lib/err.h"

enum confine_keep {
	CONFINE_DEFAULT = 0,	    /* no capability, no new privileges, no exec, no debugging */
	CONFINE_NET_ADMIN = 1 << 0, /* the tunnel: TUN, routes, firewall, SO_MARK */
	CONFINE_EXEC = 1 << 1
};

/* Drops what `keep` does not name. ERR_IO if the kernel refuses. */
NODISCARD enum err confine(unsigned int keep);

#endif
