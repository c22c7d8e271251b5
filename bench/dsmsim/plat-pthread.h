/* SPDX-License-Identifier: GPL-2.0-only */
/* What the stress test asks of the back end on real threads. */
#ifndef DSMSIM_PLAT_PTHREAD_H
#define DSMSIM_PLAT_PTHREAD_H

#include <shim.h>

#define PLAT_THREADS	16

/**
 * plat_init - make the tasks; before all else
 */
void plat_init(void);

/**
 * plat_begin - the calling thread becomes a task
 * @id: which; below PLAT_THREADS, or PLAT_THREADS for the main thread
 * @node: where it is
 */
void plat_begin(int id, int node);

/**
 * plat_move - the calling thread goes on, on another node
 * @node: which
 */
void plat_move(int node);

/**
 * plat_kill - send a task a fatal signal
 * @id: which
 */
void plat_kill(int id);

#endif
