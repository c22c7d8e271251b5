/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef FAULTPROF_USER_H
#define FAULTPROF_USER_H

#include <linux/limits.h>
#include <linux/pgtable.h>
#include <linux/seq_file.h>

/**
 * struct user_walk - a walk of all processes' memory, a part of it each time
 * @next:	the position behind what was shown last
 * @pfn:	of the pages of a page table, or %USER_NO_PFN
 * @path:	a file's name, while that is printed
 */
struct user_walk {
	u64 next;
	unsigned long pfn[PTRS_PER_PTE];
	char path[PATH_MAX];
};

#define USER_NO_PFN	(~0UL)
#define USER_END	U64_MAX

int user_show_process(struct seq_file *m, struct user_walk *w, u64 at);
void user_show_files(struct seq_file *m, struct user_walk *w, unsigned long pfn, unsigned long end);

#endif
