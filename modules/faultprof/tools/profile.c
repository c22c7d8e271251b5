// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults by page, and why each page moves.
 *
 * A page's faults are replayed, in order, through the states that a page has at its nodes, once as
 * they were and once as if each object had pages of its own (a third time, each part of an
 * object).  What was a hit is not in the trace, but it stays one when objects part, so what the
 * replay gains is a lower bound, but for the first access of each node to each new page.  Only
 * the first access after a page has come faults: few faults say little, so a verdict comes with a
 * confidence.
 */
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define FEW		8	/* faults of a page that say nothing */
#define ENOUGH		100	/* that say all */
#define SOME		0.3	/* gains */
#define MUCH		0.7

/* What moves together in a replay. */
struct unit {
	const struct symbol *object;
	u64 part;
	struct msi state;
};

/* For qsort(), which passes nothing on */
static const struct fault *all_faults;

static int by_page(const void *a, const void *b)
{
	const struct fault *x = a, *y = b;

	if (x->page != y->page)
		return x->page < y->page ? -1 : 1;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->node - y->node;
}

static int dearer(u64 ns_a, u64 ns_b, u64 nr_a, u64 nr_b)
{
	if (ns_a != ns_b)
		return ns_a > ns_b ? -1 : 1;
	return (nr_a > nr_b) - (nr_a < nr_b);
}

static int by_cost(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	return dearer(x->all.ns, y->all.ns, x->nr, y->nr);
}

static int by_spot_cost(const void *a, const void *b)
{
	const struct spot *x = a, *y = b;

	return dearer(x->all.ns, y->all.ns, x->offset, y->offset);
}

static void count(struct count *c, const struct fault *f)
{
	if (f->write)
		c->writes++;
	else
		c->reads++;
	c->walks += f->walk;
	c->ns += f->ns;
}

static void count_spot(struct page *p, const struct fault *f, u32 nr_nodes)
{
	const u32 offset = f->gpa % PAGE_SIZE;
	const struct symbol *object, *function = symbols_find(f->ip);
	struct spot *s;
	const char *file;
	int line = 0;
	u64 inner;

	object = symbols_find_accessed(f, &inner);
	file = dwarf_line(f->ip, &line);
	for (s = p->spots; s < p->spots + p->nr_spots; s++)
		if (s->object == object && s->function == function && s->offset == offset &&
		    s->line == line)
			break;
	if (s == p->spots + p->nr_spots) {
		/* Room for a power of two */
		if (!(p->nr_spots & (p->nr_spots - 1)))
			p->spots = xrealloc(p->spots, (2 * p->nr_spots + 1) * sizeof(*s));
		s = &p->spots[p->nr_spots++];
		memset(s, 0, sizeof(*s));
		s->by = xzalloc(nr_nodes * sizeof(*s->by));
		s->object = object;
		s->inner = inner;
		s->part = object ? symbols_part(object, inner) : 0;
		s->function = function;
		s->file = file;
		s->line = line;
		s->offset = offset;
	}
	count(&s->by[f->node], f);
	count(&s->all, f);
}

/* What of a page would lie apart in a replay */
enum apart { NOTHING, OBJECTS, PARTS };

static u64 part_of(const struct page *p, const struct symbol *object, u64 inner)
{
	size_t i;

	for (i = 0; i < p->nr_spots; i++)
		if (p->spots[i].object == object && p->spots[i].inner == inner)
			return p->spots[i].part;
	return 0;
}

/* How many of a page's faults by the guest's instructions would be left. */
static u64 replay(const struct page *p, enum apart parts, size_t *nr_units)
{
	struct unit *units = NULL, *u;
	size_t nr = 0, i;
	u64 misses = 0;

	for (i = p->first; i < p->end; i++) {
		const struct fault *f = &all_faults[i];
		const struct symbol *object = NO_SYMBOL;
		u64 part = 0;

		if (f->walk || !f->gpa)
			continue;
		if (parts != NOTHING)
			object = symbols_find_accessed(f, &part);
		part = parts == PARTS && object ? part_of(p, object, part) : 0;
		for (u = units; u < units + nr; u++)
			if (u->object == object && u->part == part)
				break;
		if (u == units + nr) {
			if (!(nr & (nr - 1)))
				units = xrealloc(units, (2 * nr + 1) * sizeof(*u));
			u = &units[nr++];
			*u = (struct unit){ object, part, { 1ULL << f->home, f->home } };
		}
		misses += msi_access(&u->state, f->node, f->write);
	}
	free(units);
	*nr_units = nr;
	return misses;
}

static bool is_named(const struct symbol *s)
{
	return s && !s->is_kind;
}

static void judge(struct page *p)
{
	u64 together, apart, parts, named = 0, seen = 0;
	size_t units, objects, i;

	for (i = 0; i < p->nr_spots; i++) {
		seen += count_faults(&p->spots[i].all) - p->spots[i].all.walks;
		if (is_named(p->spots[i].object))
			named += count_faults(&p->spots[i].all) - p->spots[i].all.walks;
	}
	together = replay(p, NOTHING, &units);
	apart = replay(p, OBJECTS, &objects);
	parts = replay(p, PARTS, &units);
	p->gain = together > apart ? 1 - (double)apart / together : 0;
	p->inner_gain = together > parts ? 1 - (double)parts / together : 0;
	p->confidence = seen < ENOUGH ? (double)seen / ENOUGH : 1;
	if (2 * p->all.walks > count_faults(&p->all)) {
		p->verdict = V_WALK;
		p->confidence = (double)p->all.walks / count_faults(&p->all);
		return;
	}
	/* What has no name cannot be told apart. */
	p->confidence *= seen ? (double)named / seen : 0;
	if (together < FEW || 2 * named < seen)
		p->verdict = V_UNKNOWN;
	else if (p->gain >= MUCH || p->inner_gain >= MUCH)
		p->verdict = V_FALSE;
	else if (p->gain <= SOME && p->inner_gain <= SOME)
		p->verdict = V_TRUE;
	else
		p->verdict = V_MIXED;
}

static void make_page(struct profile *p, struct page *page)
{
	const struct fault *f;

	page->by = xzalloc(p->nr_nodes * sizeof(*page->by));
	for (f = &all_faults[page->first]; f < &all_faults[page->end]; f++) {
		page->nr = f->page;
		page->home = f->home;
		if (f->gpa)
			page->gpa = f->gpa - f->gpa % PAGE_SIZE;
		count(&page->by[f->node], f);
		count(&page->all, f);
		count_spot(page, f, p->nr_nodes);
		count(&p->by[f->node], f);
		count(&p->all, f);
	}
	judge(page);
	qsort(page->spots, page->nr_spots, sizeof(*page->spots), by_spot_cost);
}

/**
 * profile_make() - gather faults by page, and judge each
 * @p:		the profile
 * @f:		at least one; they are sorted
 */
void profile_make(struct profile *p, struct faults *f)
{
	u64 first = UINT64_MAX, last = 0, inner;
	bool named;
	size_t i;

	memset(p, 0, sizeof(*p));
	qsort(f->fault, f->nr, sizeof(*f->fault), by_page);
	all_faults = f->fault;
	for (i = 0; i < f->nr; i++) {
		const struct fault *one = &f->fault[i];

		if (!i || one->page != one[-1].page) {
			/* Room for a power of two */
			if (!(p->nr_pages & (p->nr_pages - 1)))
				p->pages = xrealloc(p->pages,
						    (2 * p->nr_pages + 1) * sizeof(*p->pages));
			p->pages[p->nr_pages++] = (struct page){ .first = i };
		}
		p->pages[p->nr_pages - 1].end = i + 1;
		first = one->time_ns < first ? one->time_ns : first;
		last = one->time_ns > last ? one->time_ns : last;
		named = is_named(symbols_find_accessed(one, &inner));
		p->named += named;
		p->kernel += symbols_is_kernel_code(one->ip);
		p->kernel_named += named && symbols_is_kernel_code(one->ip);
		if (one->node >= p->nr_nodes)
			p->nr_nodes = one->node + 1;
		if (one->home >= p->nr_nodes)
			p->nr_nodes = one->home + 1;
	}
	p->span_ns = last - first;
	p->own = f->own;
	p->lost = f->lost;
	p->local = f->local;
	p->origin = f->origin;
	p->by = xzalloc(p->nr_nodes * sizeof(*p->by));
	for (i = 0; i < p->nr_pages; i++)
		make_page(p, &p->pages[i]);
	qsort(p->pages, p->nr_pages, sizeof(*p->pages), by_cost);
}

/**
 * profile_free() - give back what profile_make() took
 * @p:		the profile
 */
void profile_free(struct profile *p)
{
	size_t i, j;

	for (i = 0; i < p->nr_pages; i++) {
		for (j = 0; j < p->pages[i].nr_spots; j++)
			free(p->pages[i].spots[j].by);
		free(p->pages[i].spots);
		free(p->pages[i].by);
	}
	free(p->pages);
	free(p->by);
}
