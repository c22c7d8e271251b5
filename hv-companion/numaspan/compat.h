/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels numaspan.ko is built for (6.1 to 6.12).  Each entry names the
 * commit that changed it and the first version that has it; nothing else in the module
 * looks at LINUX_VERSION_CODE.
 */
#ifndef NUMASPAN_COMPAT_H
#define NUMASPAN_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

/* 1c71222e5f23 ("mm: replace vma->vm_flags direct modifications with modifier calls"), 6.3 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

/* 1235ccd05b6d ("mm: handle swap page faults under per-VMA lock"), 6.6 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
static inline void release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#endif

#endif
