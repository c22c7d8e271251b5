/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of faultprof.ko: memory.c, which is loaded and unloaded, has ring.c do its part.
 */
#ifndef FAULTPROF_RING_H
#define FAULTPROF_RING_H

struct dentry;

int faultprof_ring_init(struct dentry *dir);
void faultprof_ring_exit(void);

/* For trace.h: the event has its first listener, and has lost its last one. */
int faultprof_ring_start(void);
void faultprof_ring_stop(void);

#endif
