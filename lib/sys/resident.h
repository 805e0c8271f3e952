/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of the program stays in memory. */
#ifndef SYS_RESIDENT_H
#define SYS_RESIDENT_H

/* Lets go of free heap and of all code and constants that were touched so far: what is needed again comes
 * back from the page cache at its next use. For the end of work that is seldom done and touches much, as a
 * start does. Any thread may run meanwhile. Does nothing where /proc is not there. */
void resident_trim(void);

#endif
