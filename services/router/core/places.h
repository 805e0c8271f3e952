/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a packet may take between two countries: a guess for relays never measured together.
 *
 * Distance between the capitals on a sphere, at two thirds of the speed of light, there and back, and
 * 60 % more for the way that cables go. It stands in until a route has measured the edge; it says nothing about a
 * single relay, and nothing about where this node is. Pure. */
#ifndef ROUTER_PLACES_H
#define ROUTER_PLACES_H

#include <stdint.h>

#define PLACES_SAME_US 12000	/* inside one country */
#define PLACES_UNKNOWN_US 80000 /* one of the two is not known */

/* Two letters each, as in `country` of a row (first letter in the high byte); 0 unknown. */
uint32_t places_rtt_us(uint32_t a, uint32_t b);

#endif
