// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of a node's page entries.  A chunk of 512 entries is allocated when one of them is
 * first used and stays until the node ends, so a pointer to an entry is good as long as the
 * node is.
 */
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "node.h"

static struct ns_chunk *new_chunk(struct ns_node *n, u64 nr)
{
	struct ns_chunk *ch = kvzalloc(sizeof(*ch), GFP_KERNEL);
	bool any_home = false;
	unsigned int i;

	if (!ch)
		return NULL;
	for (i = 0; i < NS_CHUNK_PAGES; i++) {
		struct ns_page *p = &ch->pages[i];
		bool home;

		spin_lock_init(&p->lock);
		p->index = (nr << NS_CHUNK_SHIFT) + i;
		if (p->index >= n->nr_pages)
			continue;
		home = ns_home(n, p->index) == n->self;
		any_home |= home;
		INIT_LIST_HEAD(&p->lru);
		ns_cache_init(&p->c, home);
	}
	if (!any_home)
		return ch;
	ch->dir = kvcalloc(NS_CHUNK_PAGES, sizeof(*ch->dir), GFP_KERNEL);
	if (!ch->dir) {
		kvfree(ch);
		return NULL;
	}
	for (i = 0; i < NS_CHUNK_PAGES; i++)
		ns_dir_init(&ch->dir[i], n->self);
	return ch;
}

static void free_chunk(struct ns_chunk *ch)
{
	kvfree(ch->dir);
	kvfree(ch);
}

/**
 * ns_page_get() - the entry of a page
 * @n:		node
 * @index:	page number, below n->nr_pages
 *
 * Context: may sleep.
 * Return: the entry, good until the node ends; NULL without memory.
 */
struct ns_page *ns_page_get(struct ns_node *n, u64 index)
{
	u64 nr = index >> NS_CHUNK_SHIFT;
	struct ns_chunk *ch;

	/* Pairs with the cmpxchg below: a chunk is seen filled in. */
	ch = smp_load_acquire(&n->chunks[nr]);
	if (unlikely(!ch)) {
		struct ns_chunk *old;

		ch = new_chunk(n, nr);
		if (!ch)
			return NULL;
		old = cmpxchg(&n->chunks[nr], NULL, ch);
		if (old) {
			free_chunk(ch);
			ch = old;
		}
	}
	return &ch->pages[index & (NS_CHUNK_PAGES - 1)];
}

/**
 * ns_page_dir() - the directory entry of a page whose home is this node
 * @n:		node
 * @p:		the page's entry
 *
 * Context: any; p->lock guards what it points to.
 */
struct ns_dir *ns_page_dir(struct ns_node *n, struct ns_page *p)
{
	return &n->chunks[p->index >> NS_CHUNK_SHIFT]->dir[p->index & (NS_CHUNK_PAGES - 1)];
}

/**
 * ns_pages_unmap() - empty every mapping of a node that has stopped
 * @n:		node, stopped
 *
 * The page lock of each page ends an access that was allowed before the stop, so that none is
 * mapped when this returns.
 *
 * Context: may sleep.
 */
void ns_pages_unmap(struct ns_node *n)
{
	u64 nr;
	unsigned int i;

	unmap_mapping_range(n->inode->i_mapping, 0, 0, 1);
	for (nr = 0; nr < n->nr_chunks; nr++) {
		struct ns_chunk *ch = READ_ONCE(n->chunks[nr]);

		for (i = 0; ch && i < NS_CHUNK_PAGES; i++) {
			struct ns_page *p = &ch->pages[i];
			struct page *page;

			spin_lock(&p->lock);
			page = p->mapped ? p->page : NULL;
			if (page)
				get_page(page);
			spin_unlock(&p->lock);
			if (!page)
				continue;
			lock_page(page);
			if (page_mapped(page))
				unmap_mapping_pages(n->inode->i_mapping, p->index, 1, false);
			unlock_page(page);
			put_page(page);
		}
		cond_resched();
	}
}

/**
 * ns_pages_free() - free every entry and every page of contents
 * @n:		node, with no thread, no mapping and no waiter left
 *
 * Context: may sleep.
 */
void ns_pages_free(struct ns_node *n)
{
	u64 nr;
	unsigned int i;

	if (!n->chunks)
		return;
	for (nr = 0; nr < n->nr_chunks; nr++) {
		struct ns_chunk *ch = n->chunks[nr];

		if (!ch)
			continue;
		for (i = 0; i < NS_CHUNK_PAGES; i++)
			if (ch->pages[i].page)
				put_page(ch->pages[i].page);
		free_chunk(ch);
		cond_resched();
	}
	kvfree(n->chunks);
	n->chunks = NULL;
}
