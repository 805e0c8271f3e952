/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A node's folder: keys and a commented node.ini. */
#ifndef MVPN_INIT_H
#define MVPN_INIT_H

/* Makes what is missing in dir, keeps what is there, prints the node's public names. Returns an
 * exit code. */
int node_init(const char *dir, const char *name);

/* Prints the bootstrap word of the node in dir: <node id>@<WireGuard key>@<endpoint>, for the
 * [discovery] bootstrap list of others. endpoint as text. Returns an exit code. */
int node_word(const char *dir, const char *endpoint);

#endif
