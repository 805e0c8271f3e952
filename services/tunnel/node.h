/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tunnel as a service of a node: bus, configuration, devices; the work is done by the workers. */
#ifndef TUNNEL_NODE_H
#define TUNNEL_NODE_H

/* mvpn-tunnel --dir DIR: main() of the node. Returns an exit code. */
int node_main(int argc, char **argv);

#endif
