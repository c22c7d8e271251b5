/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the core uses and an older kernel lacks; included before all else.
 */
#ifndef _PERNODE_RWSEM_COMPAT_H
#define _PERNODE_RWSEM_COMPAT_H

#include <linux/overflow.h>

/* Where 6.1 has struct rcuwait; in 6.12 it is in <linux/types.h>, as the types need it. */
#include <linux/rcuwait.h>

#endif
