// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a kernel's memory is used for, for faultprof: /sys/kernel/debug/faultprof/memory says it in
 * one pass over all pages, a line for each run of pages that are used alike, and for what has
 * a name that only the running kernel knows: each CPU's own data, kernel stacks, what is mapped
 * for modules, slabs, and the struct pages themselves; and, by user.c, files' pages and processes'.
 * Reading it touches every struct page, and those of other nodes move for that.  Slabs are told
 * apart, and what is allocated for each CPU, only by a kernel with the series'
 * CONFIG_FAULTPROF_ATTRIBUTION, and who asked for kmalloc()'s objects and for pages by one that
 * profiles allocations besides.
 *
 * It is a snapshot of what is not locked meanwhile: what changes hands may be said wrongly, but
 * nothing is followed that could go away.  Addresses are physical.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#ifdef CONFIG_FAULTPROF_ATTRIBUTION
#include <linux/slab_layout.h>
#endif

#include "compat.h"
#include "ring.h"
#include "user.h"

/*
 * The positions of the file: one for each of these, one for each section of memory, one for each
 * FILES_PAGES of it for the files' pages there, then those of the walk of all processes
 */
enum { AT_HEAD, AT_PERCPU, AT_ALLOCATED, AT_MODULES, AT_STACKS, AT_SECTIONS };

#define AT_PROCESSES	((loff_t)BIT_ULL(60))
#define AT_END		((loff_t)BIT_ULL(62))
#define FILES_PAGES	2048UL

static struct dentry *dir;

static unsigned long last_pfn(void)
{
	unsigned long end = 0;
	int node;

	for_each_online_node(node)
		end = max(end, node_end_pfn(node));
	return end;
}

static void show_head(struct seq_file *m)
{
	int node;

	seq_puts(m, "# faultprof memory 1\n");
	for_each_online_node(node)
		seq_printf(m, "node %llx %llx %d\n", PFN_PHYS(node_start_pfn(node)),
			   PFN_PHYS(node_end_pfn(node) - node_start_pfn(node)), node);
}

/* Where address 0 of the image's per-CPU section is, for each CPU */
static void show_percpu(struct seq_file *m)
{
	int cpu;

	for_each_possible_cpu(cpu)
		if (virt_addr_valid((void *)per_cpu_offset(cpu)))
			seq_printf(m, "percpu %llx %d\n", (u64)__pa(per_cpu_offset(cpu)), cpu);
}

#ifdef CONFIG_FAULTPROF_ATTRIBUTION
static void show_allocations(struct seq_file *m)
{
	unsigned long at = 0;
	size_t size;

	for (; (size = percpu_layout_next(&at)); at += size)
		seq_printf(m, "percpu-object %lx %zx -\n", at, size);
}
#else
static void show_allocations(struct seq_file *m)
{
}
#endif

static void show_object(struct seq_file *m, const void __percpu *at, size_t size, const char *what,
			const char *of, int node)
{
	/* Before the allocator is there, zones use variables of the image. */
	if (at)
		seq_printf(m, "percpu-object %lx %zx %s of %s/%d\n", (__force unsigned long)at,
			   size, what, of, node);
}

/*
 * What is allocated of each CPU's own memory: that of nodes and zones, whoever runs; the rest, of
 * which only the kernel with the series' option says where it is, but not for whom.  Of two lines
 * for one place the first holds.
 */
static void show_allocated(struct seq_file *m)
{
	int node, nr;

	for_each_online_node(node) {
		pg_data_t *data = NODE_DATA(node);

		show_object(m, data->per_cpu_nodestats, sizeof(*data->per_cpu_nodestats),
			    "statistics", "node", node);
		for (nr = 0; nr < MAX_NR_ZONES; nr++) {
			struct zone *z = &data->node_zones[nr];

			if (!populated_zone(z))
				continue;
			show_object(m, z->per_cpu_pageset, sizeof(*z->per_cpu_pageset), "pages",
				    z->name, node);
			show_object(m, z->per_cpu_zonestats, sizeof(*z->per_cpu_zonestats),
				    "statistics", z->name, node);
		}
	}
	show_allocations(m);
}

static void show_stacks(struct seq_file *m)
{
	struct task_struct *p, *t;
	unsigned long at;

	rcu_read_lock();
	for_each_process_thread(p, t) {
		unsigned long stack = (unsigned long)READ_ONCE(t->stack);

		for (at = stack; stack && at < stack + THREAD_SIZE; at += PAGE_SIZE) {
			struct page *page = NULL;

			if (is_vmalloc_addr((void *)at))
				page = vmalloc_to_page((void *)at);
			else if (virt_addr_valid((void *)at))
				page = virt_to_page((void *)at);
			if (!page)
				continue;
			seq_printf(m, "stack %llx %lx %d ", PFN_PHYS(page_to_pfn(page)), PAGE_SIZE,
				   t->pid);
			/* Anything may be a name, or nothing. */
			seq_escape(m, *t->comm ? t->comm : "-", "\n\r");
			seq_putc(m, '\n');
		}
	}
	rcu_read_unlock();
}

/* Where a kernel address lies, or 0; returns how much from there on does, or does not. */
static unsigned long mapped(unsigned long at, unsigned long end, u64 *phys)
{
	unsigned int level;
	pte_t *pte = lookup_address(at, &level);
	const unsigned long size = pte ? page_level_size(level) : hole_size(level);

	*phys = 0;
	if (pte && pte_present(*pte) && level <= PG_LEVEL_2M) {
		*phys = PFN_PHYS(level == PG_LEVEL_2M ? pmd_pfn(*(pmd_t *)pte) : pte_pfn(*pte));
		*phys += at & (size - 1);
	}
	return min(size - (at & (size - 1)), end - at);
}

/* Where a range of addresses lies, as far as it does */
static void show_mapped(struct seq_file *m, unsigned long at, unsigned long end)
{
	unsigned long len;
	u64 phys;

	for (; at < end; at += len) {
		len = mapped(at, end, &phys);
		if (phys)
			seq_printf(m, "mapped %llx %lx %lx\n", phys, len, at);
	}
}

/*
 * What modules have: which of each CPU's own data, and where the addresses lie that they are loaded
 * to, and those of vmalloc().  Which section is at which, /sys/module says, and /proc/vmallocinfo
 * who asked for which.
 */
static void show_modules(struct seq_file *m)
{
	struct kset *all = THIS_MODULE->mkobj.kobj.kset;
	struct kobject *k;

	/* Who is on the list does not go away before it has left that. */
	spin_lock(&all->list_lock);
	list_for_each_entry(k, &all->list, entry) {
		const struct module *mod = container_of(k, struct module_kobject, kobj)->mod;

		if (mod && mod->percpu_size)
			seq_printf(m, "module-percpu %lx %x %s\n",
				   (__force unsigned long)mod->percpu, mod->percpu_size, mod->name);
	}
	spin_unlock(&all->list_lock);
	show_mapped(m, MODULES_VADDR, MODULES_END);
	show_mapped(m, VMALLOC_START, VMALLOC_END);
}

/* Where the struct pages of a section are */
static void show_vmemmap(struct seq_file *m, unsigned long pfn)
{
	unsigned long at = (unsigned long)pfn_to_page(pfn), len;
	unsigned long end = (unsigned long)(pfn_to_page(pfn) + PAGES_PER_SECTION);
	u64 phys;

	for (; at < end; at += len) {
		len = mapped(at, end, &phys);
		if (phys)
			seq_printf(m, "vmemmap %llx %lx %llx\n", phys, len,
				   PFN_PHYS(page_to_pfn((struct page *)at)));
	}
}

/* What a page is used for; @nr gets how many from this one on are known to be used the same way. */
static const char *use_of(unsigned long pfn, unsigned long *nr)
{
	struct page *page = pfn_to_online_page(pfn), *head;
	unsigned long mapping;

	*nr = 1;
	if (!page)
		return NULL;
	if (PageReserved(page))
		return "reserved";
	if (PageBuddy(page)) {
		*nr = 1UL << min(page_private(page), 20UL);
		return "free";
	}
	head = compound_head(page);
	mapping = (unsigned long)READ_ONCE(head->mapping);
	if (PageSlab(head))
		return "slab";
	if (PageTable(page))
		return "page-table";
	if (!page_ref_count(head))
		return "free";
	if (mapping & PAGE_MAPPING_ANON)
		return "anonymous";
	return mapping ? "page-cache" : "pages";
}

#ifdef CONFIG_FAULTPROF_ATTRIBUTION
static void show_site(struct seq_file *m, u64 phys, unsigned long size,
		      const struct alloc_site *site)
{
	seq_printf(m, "site %llx %lx %.63s %s:%u\n", phys, size, site->function, site->file,
		   site->line);
}

/* Who asked for the objects of a slab, if those of its cache may be anything */
static void show_slab_sites(struct seq_file *m, const struct slab_layout *slab)
{
	const u64 phys = PFN_PHYS(page_to_pfn(slab->page)) + slab->first;
	unsigned int nr, end = ((slab->pages << PAGE_SHIFT) - slab->first) / slab->stride;
	struct alloc_site site;

	if (!str_has_prefix(slab->cache, "kmalloc-"))
		return;
	for (nr = 0; nr < end; nr++)
		if (slab_site_of(slab->page, nr, &site))
			show_site(m, phys + nr * slab->stride, slab->size, &site);
}

/* Who asked for each of a run of pages that are used for nothing in particular */
static void show_page_sites(struct seq_file *m, unsigned long pfn, unsigned long end)
{
	struct alloc_site site;
	unsigned long nr;

	for (; pfn < end; pfn += nr) {
		struct page *page = pfn_to_online_page(pfn);

		nr = page && PageHead(page) ? compound_nr(page) : 1;
		if (page && page_site_of(page, &site))
			show_site(m, PFN_PHYS(pfn), nr << PAGE_SHIFT, &site);
	}
}

/* Where the objects of each slab are: the first, how far apart, how large */
static void show_slabs(struct seq_file *m, unsigned long pfn, unsigned long end)
{
	struct slab_layout slab;
	struct page *page;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		if (!page || !slab_layout_of(page, &slab) || slab.page != page)
			continue;
		seq_printf(m, "slab %llx %lx %x %x %x %s\n", PFN_PHYS(pfn),
			   slab.pages << PAGE_SHIFT, slab.first, slab.stride, slab.size,
			   slab.cache);
		show_slab_sites(m, &slab);
		pfn += slab.pages - 1;
	}
}
#else
static void show_page_sites(struct seq_file *m, unsigned long pfn, unsigned long end)
{
}

static void show_slabs(struct seq_file *m, unsigned long pfn, unsigned long end)
{
}
#endif

/* That a run of pages is used alike, if it is one */
static void show_run(struct seq_file *m, unsigned long pfn, unsigned long end, const char *use)
{
	if (!use)
		return;
	seq_printf(m, "pages %llx %llx %s\n", PFN_PHYS(pfn), PFN_PHYS(end - pfn), use);
	if (!strcmp(use, "pages"))
		show_page_sites(m, pfn, end);
}

static void show_section(struct seq_file *m, unsigned long pfn)
{
	unsigned long end = min(pfn + PAGES_PER_SECTION, last_pfn()), nr, start = pfn;
	const char *before = NULL, *use;

	if (!pfn_to_online_page(pfn))
		return;
	show_vmemmap(m, pfn);
	show_slabs(m, pfn, end);
	for (; pfn < end; pfn += nr) {
		use = use_of(pfn, &nr);
		if (use == before)
			continue;
		show_run(m, start, pfn, before);
		before = use;
		start = pfn;
	}
	show_run(m, start, end, before);
}

/* Where the files' pages begin */
static loff_t at_files(void)
{
	return AT_SECTIONS + DIV_ROUND_UP(last_pfn(), PAGES_PER_SECTION);
}

static void *memory_start(struct seq_file *m, loff_t *pos)
{
	/* seq_file wants something that is not NULL; the position says all. */
	return *pos < AT_END ? pos : NULL;
}

static void *memory_next(struct seq_file *m, void *v, loff_t *pos)
{
	const struct user_walk *w = m->private;

	if (*pos >= AT_PROCESSES)
		*pos = w->next == USER_END ? AT_END : AT_PROCESSES + w->next;
	else if (++*pos >= at_files() + DIV_ROUND_UP(last_pfn(), FILES_PAGES))
		*pos = AT_PROCESSES;
	return memory_start(m, pos);
}

static void memory_stop(struct seq_file *m, void *v)
{
}

static int memory_show(struct seq_file *m, void *v)
{
	const loff_t pos = *(loff_t *)v;
	unsigned long pfn;
	int err = 0;

	if (pos == AT_HEAD) {
		show_head(m);
	} else if (pos == AT_PERCPU) {
		show_percpu(m);
	} else if (pos == AT_ALLOCATED) {
		show_allocated(m);
	} else if (pos == AT_MODULES) {
		show_modules(m);
	} else if (pos == AT_STACKS) {
		show_stacks(m);
	} else if (pos < at_files()) {
		show_section(m, (pos - AT_SECTIONS) * PAGES_PER_SECTION);
	} else if (pos < AT_PROCESSES) {
		pfn = (pos - at_files()) * FILES_PAGES;
		user_show_files(m, m->private, pfn, min(pfn + FILES_PAGES, last_pfn()));
	} else {
		err = user_show_process(m, m->private, pos - AT_PROCESSES);
	}
	cond_resched();
	return err;
}

static const struct seq_operations memory_sops = {
	.start = memory_start,
	.next = memory_next,
	.stop = memory_stop,
	.show = memory_show,
};

static int memory_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &memory_sops, sizeof(struct user_walk));
}

static const struct file_operations memory_fops = {
	.owner = THIS_MODULE,
	.open = memory_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

static int __init faultprof_init(void)
{
	int err;

	dir = debugfs_create_dir("faultprof", NULL);
	if (IS_ERR(dir))
		return PTR_ERR(dir);
	debugfs_create_file("memory", 0400, dir, NULL, &memory_fops);
	err = faultprof_ring_init(dir);
	if (err)
		debugfs_remove(dir);
	return err;
}

static void __exit faultprof_exit(void)
{
	debugfs_remove(dir);
	faultprof_ring_exit();
}

module_init(faultprof_init);
module_exit(faultprof_exit);
MODULE_DESCRIPTION("What a kernel's memory is used for, and the faults of its span, for faultprof");
MODULE_LICENSE("GPL");
