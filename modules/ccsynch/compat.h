/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the core uses and an older kernel lacks; included before all else.
 */
#ifndef _CCSYNCH_COMPAT_H
#define _CCSYNCH_COMPAT_H

#include <linux/version.h>

/* Before 6.7 these two tracepoints were not for modules. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#include <trace/events/lock.h>
#define trace_contention_begin(lock, flags)	((void)(lock), (void)(flags))
#define trace_contention_end(lock, err)		((void)(lock), (void)(err))
#endif

#endif
