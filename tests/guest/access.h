/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Accesses of 64 bits that the compiler neither moves nor merges nor splits nor leaves out.
 */
#ifndef TESTS_GUEST_ACCESS_H
#define TESTS_GUEST_ACCESS_H

static inline void store64(void *p, u64 v)
{
	asm volatile("movq %1, %0" : "=m" (*(u64 *)p) : "r" (v) : "memory");
}

static inline u64 load64(const void *p)
{
	u64 v;

	asm volatile("movq %1, %0" : "=r" (v) : "m" (*(const u64 *)p) : "memory");
	return v;
}

#endif
