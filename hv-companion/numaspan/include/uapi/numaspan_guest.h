/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What a guest and spanvm may tell each other; a guest that knows nothing of it runs as well.
 *
 * CPUID: among the hypervisors' leaves (0x40000000, and each 0x100 further) is one with the
 * signature NUMASPAN_SIGNATURE in ebx, ecx, edx.  The leaf after it has NUMASPAN_FEATURE_* in eax
 * and a port in ebx.  A call is a write of 32 bits to that port, of NUMASPAN_CALL_*, with its
 * arguments in rbx and rcx.  It reaches the host that the CPU runs on, and no other; it has no
 * answer, and what spanvm does not understand it ignores.
 */
#ifndef _UAPI_NUMASPAN_GUEST_H
#define _UAPI_NUMASPAN_GUEST_H

#define NUMASPAN_SIGNATURE	"NUMASPAN\0\0\0\0"

/*
 * Where the code is that clears a page from its first byte to its last and does nothing else:
 * addresses rbx <= rip < rcx, at most 4096 bytes, or 0 and 0.  A page that is about to be cleared
 * is not fetched from another host.  Until the next call, or a reset.
 */
#define NUMASPAN_FEATURE_CLEAR_CODE	0x1
#define NUMASPAN_CALL_CLEAR_CODE	1

#endif
