// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whose the memory is that the kernel has not for itself, for faultprof's memory file: a process's,
 * by its page tables; a file's, by the process that has mapped it, or else by the page.
 *
 * Page tables are read as get_user_pages_fast() does, with interrupts off, so that they stay, and
 * under mmap_lock, so that it is known what they are of.  No page is referenced for that: what its
 * struct page says is taken as it is, and what it points to is compared and not followed.  A page
 * of a file that nobody has mapped is locked for a moment, so that its inode stays until it has
 * a reference; one page for all of a file that lie side by side.  A page that cannot be locked, or
 * that has yet to come to a list of the LRU, keeps its kind's name.
 *
 * Names are printed so that none of their characters can be taken for the end of a word.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/string_helpers.h>

#include "user.h"

/*
 * A position: the process, and which of its page tables is next.  There are not more than 2^22
 * processes, and 2^36 tables with five levels.
 */
#define TABLE_BITS	36
#define TABLE_MASK	((1ULL << TABLE_BITS) - 1)

/* What is shown at a time, while mmap_lock is held */
#define MAX_TABLES	64
#define MAX_LINES	512

/* Pages side by side in memory, and in what they are of */
struct run {
	u64 phys, offset, len;
	bool file;
};

/* A process's memory that is shown */
struct area {
	const struct vm_area_struct *vma;
	const char *comm;
	int pid;
};

/* One word */
static void put_word(struct seq_file *m, const char *text)
{
	if (*text)
		seq_escape_str(m, text, ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND, " \\");
	else
		seq_putc(m, '-');
}

static void put_path(struct seq_file *m, struct user_walk *w, struct file *file)
{
	const char *path = file_path(file, w->path, sizeof(w->path));

	put_word(m, IS_ERR(path) ? "" : path);
}

static void put_file(struct seq_file *m, const struct run *r, const struct inode *inode)
{
	const dev_t dev = inode->i_sb->s_dev;

	seq_printf(m, "file %llx %llx %llx %u:%u %lu ", r->phys, r->len, r->offset, MAJOR(dev),
		   MINOR(dev), inode->i_ino);
}

/* As /proc/PID/maps has it */
static bool is_heap(const struct vm_area_struct *vma)
{
	return vma->vm_start < vma->vm_mm->brk && vma->vm_end > vma->vm_mm->start_brk;
}

static bool is_stack(const struct vm_area_struct *vma)
{
	return vma->vm_start <= vma->vm_mm->start_stack && vma->vm_end >= vma->vm_mm->start_stack;
}

static void put_run(struct seq_file *m, struct user_walk *w, const struct area *a,
		    const struct run *r)
{
	struct file *file = a->vma->vm_file;

	if (r->file) {
		put_file(m, r, file->f_mapping->host);
		put_path(m, w, file);
	} else {
		seq_printf(m, "user %llx %llx %llx %d ", r->phys, r->len, r->offset, a->pid);
		put_word(m, a->comm);
		if (file) {
			seq_puts(m, " copy:");
			put_path(m, w, file);
		} else if (is_heap(a->vma)) {
			seq_puts(m, " heap");
		} else if (is_stack(a->vma)) {
			seq_puts(m, " stack");
		} else {
			seq_printf(m, " anonymous:%lx", a->vma->vm_start);
		}
	}
	seq_putc(m, '\n');
}

/*
 * The pages of [@at, @end) that the first page table has, or one page of more than a page table's;
 * returns where they end, or where the next table begins if there is none.
 */
static unsigned long read_table(const struct mm_struct *mm, unsigned long at, unsigned long end,
				struct user_walk *w, unsigned int *nr)
{
	unsigned long size = PGDIR_SIZE, flags, i;
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;
	pgd_t *pgdp, pgd;
	pte_t *ptep, pte;

	*nr = 0;
	local_irq_save(flags);
	pgdp = pgd_offset(mm, at);
	pgd = READ_ONCE(*pgdp);
	if (pgd_none(pgd) || pgd_bad(pgd))
		goto out;
	size = P4D_SIZE;
	p4dp = p4d_offset(&pgd, at);
	p4d = READ_ONCE(*p4dp);
	if (!p4d_present(p4d) || p4d_bad(p4d))
		goto out;
	size = PUD_SIZE;
	pudp = pud_offset(&p4d, at);
	pud = READ_ONCE(*pudp);
	if (!pud_present(pud))
		goto out;
	if (pud_leaf(pud)) {
		w->pfn[0] = pud_pfn(pud) + ((at & ~PUD_MASK) >> PAGE_SHIFT);
		*nr = 1;
		goto out;
	}
	size = PMD_SIZE;
	pmdp = pmd_offset(&pud, at);
	pmd = READ_ONCE(*pmdp);
	if (!pmd_present(pmd))
		goto out;
	if (pmd_leaf(pmd)) {
		w->pfn[0] = pmd_pfn(pmd) + ((at & ~PMD_MASK) >> PAGE_SHIFT);
		*nr = 1;
		goto out;
	}
	if (pmd_bad(pmd))
		goto out;
	*nr = (min(end - at, size - (at & (size - 1)))) >> PAGE_SHIFT;
	ptep = pte_offset_kernel(&pmd, at);
	for (i = 0; i < *nr; i++) {
		pte = READ_ONCE(ptep[i]);
		w->pfn[i] = pte_present(pte) && !pte_special(pte) ? pte_pfn(pte) : USER_NO_PFN;
	}
out:
	local_irq_restore(flags);
	return at + min(end - at, size - (at & (size - 1)));
}

/* Whether a page that a process has there is its own, or its file's: else it has no name here. */
static bool is_named(const struct area *a, unsigned long pfn, bool *of_file)
{
	struct page *page = pfn == USER_NO_PFN ? NULL : pfn_to_online_page(pfn);
	const struct file *file = a->vma->vm_file;
	struct address_space *mapping;

	if (!page)
		return false;
	mapping = READ_ONCE(compound_head(page)->mapping);
	*of_file = file && mapping == file->f_mapping;
	return *of_file || (unsigned long)mapping & PAGE_MAPPING_ANON;
}

/* What of a process's memory is in [@at, @end), of pages of that size; returns the lines. */
static int show_pages(struct seq_file *m, struct user_walk *w, const struct area *a,
		      unsigned long at, unsigned int nr, unsigned long size)
{
	const u64 of_file = (u64)a->vma->vm_pgoff << PAGE_SHIFT;
	struct run run = { }, one;
	unsigned int i;
	int lines = 0;

	for (i = 0; i < nr; i++, at += size) {
		if (!is_named(a, w->pfn[i], &one.file))
			continue;
		one.phys = PFN_PHYS(w->pfn[i]);
		one.offset = at - a->vma->vm_start + (a->vma->vm_file ? of_file : 0);
		one.len = size;
		if (run.len && one.file == run.file && one.phys == run.phys + run.len &&
		    one.offset == run.offset + run.len) {
			run.len += size;
			continue;
		}
		if (run.len)
			put_run(m, w, a, &run);
		run = one;
		lines++;
	}
	if (run.len)
		put_run(m, w, a, &run);
	return lines;
}

/* A process's memory from @at on; returns where to go on with it, or 0. */
static unsigned long show_memory(struct seq_file *m, struct user_walk *w, struct mm_struct *mm,
				 struct area *a, unsigned long at)
{
	unsigned long end = at;
	int tables = 0, lines = 0;
	unsigned int nr;

	while ((a->vma = find_vma(mm, at))) {
		at = max(at, a->vma->vm_start);
		/* Where one of its page tables begins it can go on later. */
		if ((tables >= MAX_TABLES || lines >= MAX_LINES) &&
		    (end - 1) >> PMD_SHIFT != at >> PMD_SHIFT)
			return at & PMD_MASK;
		/* All of this will be asked for again, with more room. */
		if (seq_has_overflowed(m))
			break;
		end = a->vma->vm_end;
		if (!(a->vma->vm_flags & (VM_IO | VM_PFNMAP))) {
			end = read_table(mm, at, end, w, &nr);
			if (nr)
				lines += show_pages(m, w, a, at, nr, (end - at) / nr);
		}
		tables++;
		at = end;
	}
	return 0;
}

/* The process of that number, or the next; NULL if there is none, else with a reference */
static struct task_struct *process_from(int *nr)
{
	struct task_struct *task = NULL;
	struct pid *pid;

	rcu_read_lock();
	while (!task && (pid = find_ge_pid(*nr, &init_pid_ns))) {
		*nr = pid_nr(pid);
		task = pid_task(pid, PIDTYPE_TGID);
		if (!task)
			++*nr;
	}
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	return task;
}

/**
 * user_show_process() - what memory a process has, a part of it
 * @m:		the file
 * @w:		the walk; its @next becomes where the next part is, or %USER_END
 * @at:		where this part is; 0 the first
 *
 * Context: Process, without locks.
 * Return: 0, or -EINTR if the reader is to die.
 */
int user_show_process(struct seq_file *m, struct user_walk *w, u64 at)
{
	const int first = at >> TABLE_BITS;
	char comm[TASK_COMM_LEN];
	struct task_struct *task;
	unsigned long next = 0;
	struct mm_struct *mm;
	struct area a;
	int nr = first;

	w->next = USER_END;
	task = process_from(&nr);
	if (!task)
		return 0;
	mm = get_task_mm(task);
	a = (struct area){ .comm = get_task_comm(comm, task), .pid = nr };
	put_task_struct(task);
	if (mm) {
		if (mmap_read_lock_killable(mm)) {
			mmput(mm);
			return -EINTR;
		}
		next = show_memory(m, w, mm, &a,
				   nr == first ? (at & TABLE_MASK) << PMD_SHIFT : 0);
		mmap_read_unlock(mm);
		mmput(mm);
	}
	w->next = next ? (u64)nr << TABLE_BITS | next >> PMD_SHIFT : (u64)(nr + 1) << TABLE_BITS;
	return 0;
}

/*
 * The inode of a page of the page cache, with a reference to it, and one to its superblock, which
 * would else be unmounted with an inode in use; or NULL.
 */
static struct inode *get_inode(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping;
	struct inode *inode = NULL;

	/* Only on the LRU it is known that what @mapping points to has the page. */
	if (!folio_test_lru(folio) || !folio_try_get(folio))
		return NULL;
	if (page_folio(page) == folio && folio_test_lru(folio) && folio_trylock(folio)) {
		mapping = READ_ONCE(folio->mapping);
		if (mapping && !((unsigned long)mapping & PAGE_MAPPING_FLAGS) && mapping->host &&
		    atomic_inc_not_zero(&mapping->host->i_sb->s_active)) {
			struct super_block *sb = mapping->host->i_sb;

			inode = igrab(mapping->host);
			folio_unlock(folio);
			if (!inode)
				deactivate_super(sb);
		} else {
			folio_unlock(folio);
		}
	}
	folio_put(folio);
	return inode;
}

static void put_inode(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;

	iput(inode);
	deactivate_super(sb);
}

/* Pages of a file of which only the inode is known: where it is mounted is not. */
static void put_inode_run(struct seq_file *m, struct user_walk *w, struct inode *inode,
			  const struct run *r)
{
	struct dentry *dentry = d_find_any_alias(inode);
	const char *path = "";

	if (dentry)
		path = dentry_path_raw(dentry, w->path, sizeof(w->path));
	put_file(m, r, inode);
	seq_printf(m, "%s:", inode->i_sb->s_type->name);
	put_word(m, IS_ERR(path) ? "" : path);
	seq_putc(m, '\n');
	dput(dentry);
}

/* What a page has as its mapping if it may be in the page cache */
static const struct address_space *mapping_of(struct page *page)
{
	unsigned long mapping;

	if (PageReserved(page) || PageBuddy(page) || PageTable(page) || PageSlab(page))
		return NULL;
	mapping = (unsigned long)READ_ONCE(page->mapping);
	return mapping & PAGE_MAPPING_FLAGS ? NULL : (void *)mapping;
}

/**
 * user_show_files() - what pages of files some memory holds
 * @m:		the file
 * @w:		for a name
 * @pfn:	the first page
 * @end:	behind the last
 *
 * Context: Process, without locks.
 */
void user_show_files(struct seq_file *m, struct user_walk *w, unsigned long pfn, unsigned long end)
{
	const struct address_space *mapping;
	struct inode *inode = NULL;
	struct page *page, *head;
	struct run run = { };
	u64 offset;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		head = page ? compound_head(page) : NULL;
		mapping = head ? mapping_of(head) : NULL;
		offset = mapping ? (u64)READ_ONCE(head->index) << PAGE_SHIFT : 0;
		offset += mapping ? PFN_PHYS(pfn - page_to_pfn(head)) : 0;
		if (run.len && mapping == inode->i_mapping && offset == run.offset + run.len) {
			run.len += PAGE_SIZE;
			continue;
		}
		if (run.len)
			put_inode_run(m, w, inode, &run);
		run.len = 0;
		if (!mapping)
			continue;
		if (!inode || mapping != inode->i_mapping) {
			if (inode)
				put_inode(inode);
			inode = get_inode(page);
		}
		if (inode && mapping == inode->i_mapping)
			run = (struct run){ PFN_PHYS(pfn), offset, PAGE_SIZE };
	}
	if (run.len)
		put_inode_run(m, w, inode, &run);
	if (inode)
		put_inode(inode);
}
