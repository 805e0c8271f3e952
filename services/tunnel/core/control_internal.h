/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between control.c and control_codec.c; nobody else's. */
#ifndef TUNNEL_CONTROL_INTERNAL_H
#define TUNNEL_CONTROL_INTERNAL_H

#include "control.h"

/* What may be a request, what an answer; what an answer to what. */
struct control_shape {
	pb_size_t body;
	bool request, answer;
	pb_size_t answered_by;
};

/* NULL if there is no such body. */
const struct control_shape *control_shape_of(pb_size_t body);
/* [P-30] Body, answer flag, id and sizes suit each other. */
bool control_sensible(const overlay_Control *m);

#endif
