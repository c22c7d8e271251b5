/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the gate's model has beside the kernel's names: a switch for its optimistic spinning,
 * which exploration turns off in half of its schedules, and a look at it when nobody uses it.
 */
#ifndef DSMSIM_GATE_H
#define DSMSIM_GATE_H

#include <shim.h>

extern bool gate_spinning;

/**
 * gate_idle - is an rw_semaphore as after init_rwsem()?
 * @sem: one that nobody holds or waits for
 *
 * Return: whether.
 */
bool gate_idle(struct rw_semaphore *sem);

#endif
