/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels faultprof.ko is built for (6.1 to 6.12).  Each entry names the
 * commit that changed it and the first version that has it; nothing else in the module looks at
 * LINUX_VERSION_CODE.
 */
#ifndef FAULTPROF_COMPAT_H
#define FAULTPROF_COMPAT_H

#include <linux/pgtable.h>
#include <linux/version.h>

/*
 * How much lookup_address() says is not mapped, by its level.
 * 9d1dcdfa9091 ("x86/mm: Return correct level from lookup_address() if pte is none"), 6.11
 */
static inline unsigned long hole_size(unsigned int level)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	return level == PG_LEVEL_1G ? PMD_SIZE : level == PG_LEVEL_512G ? PUD_SIZE : P4D_SIZE;
#else
	return page_level_size(level);
#endif
}

#endif
