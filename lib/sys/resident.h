/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of the program's code stays in memory. */
#ifndef SYS_RESIDENT_H
#define SYS_RESIDENT_H

/* Lets go of all code that was touched so far: what is needed again comes back from the page cache at its
 * next use. For the end of a start that ran much code once. Does nothing where /proc is not there. */
void resident_trim(void);

#endif
