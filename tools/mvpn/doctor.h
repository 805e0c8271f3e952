/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine and the node lack, and how to mend it. */
#ifndef MVPN_DOCTOR_H
#define MVPN_DOCTOR_H

#include <stdbool.h>

/* Prints one row per check; exit code 0 if nothing essential is missing, else 1. */
int doctor(const char *dir, bool json);

#endif
