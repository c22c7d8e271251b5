// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which variables should lie elsewhere: alone on pages of their own, or together on one page that
 * holds nothing else.  All faults are replayed, in order, through the states that a page has at
 * its nodes, each at the page that its variable would be on; the change that saves most is made,
 * and then the next, until none saves enough or memory runs out.
 *
 * An access that was a hit is not in the trace.  For a variable that gets pages of its own it
 * stays one.  When variables are put together it may become a fault: that is done only to those
 * that are mostly accessed by one CPU within a short time, and what it gains is to be measured.
 */
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define FEW		8	/* faults that say nothing */
#define SHARE		1000	/* of all faults that a change saves, at least one in so many */
#define NEIGHBOURS	8	/* faults of a CPU, before and after one, that may belong to it */
#define CANDIDATES	256	/* the dearest objects, of which the changes are made */
#define LINE		64	/* each object of a group begins one */
#define NONE		UINT32_MAX

/* A fault, as the replay needs it */
struct access {
	u32 object;	/* or NONE */
	u32 stock;	/* the page it is on, counted without gaps */
	u32 own;	/* the page it would be on if the object had its own, likewise */
	u8 node, home;
	bool write;
};

static struct access *accesses;
static size_t nr_accesses;
static u32 nr_stock, nr_own;
static u32 *together;		/* [a * CANDIDATES + b]: faults of a with one of b near by */

/* The state of a page */
struct page_state {
	u64 readers;
	int writer;
	bool known;
};

static struct page_state *states;

static int by_time(const void *a, const void *b)
{
	const struct fault *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->node - y->node;
}

/* Numbers without gaps for pairs of numbers: a table that is searched from the hash on */
struct numbers {
	struct { u64 a, b; u32 nr; } *slot;
	size_t nr, room;
};

static u32 number_of(struct numbers *t, u64 a, u64 b)
{
	struct numbers old = *t;
	size_t i, j;

	if (2 * t->nr >= t->room) {
		t->room = t->room ? 2 * t->room : 1024;
		t->slot = xzalloc(t->room * sizeof(*t->slot));
		for (j = 0; j < old.room; j++) {
			if (!old.slot[j].nr)
				continue;
			i = (old.slot[j].a * 31 + old.slot[j].b) * 0x9e3779b97f4a7c15ULL %
				t->room;
			while (t->slot[i].nr)
				i = (i + 1) % t->room;
			t->slot[i] = old.slot[j];
		}
		free(old.slot);
	}
	i = (a * 31 + b) * 0x9e3779b97f4a7c15ULL % t->room;
	while (t->slot[i].nr && (t->slot[i].a != a || t->slot[i].b != b))
		i = (i + 1) % t->room;
	if (!t->slot[i].nr) {
		t->slot[i].a = a;
		t->slot[i].b = b;
		t->slot[i].nr = ++t->nr;
	}
	return t->slot[i].nr - 1;
}

static void add_object(struct layout *l, const struct symbol *s)
{
	const u64 pages = (s->size + PAGE_SIZE - 1) / PAGE_SIZE ?: 1;
	struct object *o;

	/* Room for a power of two */
	if (!(l->nr_objects & (l->nr_objects - 1)))
		l->objects = xrealloc(l->objects, (2 * l->nr_objects + 1) * sizeof(*o));
	o = &l->objects[l->nr_objects++];
	memset(o, 0, sizeof(*o));
	o->symbol = s;
	o->percpu = symbols_is_percpu(s);
	o->memory = pages * PAGE_SIZE * (o->percpu ? memory_cpus() : 1);
}

/* For qsort(), which passes nothing on */
static const struct object *sorted;

static int by_faults(const void *a, const void *b)
{
	const struct object *x = &sorted[*(const u32 *)a], *y = &sorted[*(const u32 *)b];

	if (x->faults != y->faults)
		return x->faults > y->faults ? -1 : 1;
	return (x->symbol->link > y->symbol->link) - (x->symbol->link < y->symbol->link);
}

/* The objects by faults, and their numbers in the accesses */
static void sort_objects(struct layout *l)
{
	u32 *order = xzalloc(l->nr_objects * sizeof(*order));
	u32 *rank = xzalloc(l->nr_objects * sizeof(*rank));
	struct object *old = l->objects;
	size_t i;

	for (i = 0; i < l->nr_objects; i++)
		order[i] = i;
	sorted = old;
	qsort(order, l->nr_objects, sizeof(*order), by_faults);
	l->objects = xzalloc(l->nr_objects * sizeof(*old));
	for (i = 0; i < l->nr_objects; i++) {
		l->objects[i] = old[order[i]];
		rank[order[i]] = i;
	}
	for (i = 0; i < nr_accesses; i++)
		if (accesses[i].object != NONE)
			accesses[i].object = rank[accesses[i].object];
	free(old);
	free(order);
	free(rank);
}

#define NEAR	0x80000000U

/* Marks the objects that the same CPU's faults before fault @i, or after it, are at. */
static void mark_near(const struct faults *f, size_t i, const size_t *next, int step, u64 window)
{
	const u32 a = accesses[i].object;
	u64 gap = 0;
	u32 b, n;
	size_t j;

	for (n = 0; n < NEIGHBOURS && next[i] != SIZE_MAX; n++, i = j) {
		const struct fault *x, *y;

		j = next[i];
		x = &f->fault[step > 0 ? i : j];
		y = &f->fault[step > 0 ? j : i];
		/* From the end of the one to the beginning of the other */
		if (y->time_ns > x->time_ns + y->ns)
			gap += y->time_ns - y->ns - x->time_ns;
		if (gap > window)
			return;
		b = accesses[j].object;
		if (b != NONE && b < CANDIDATES && b != a)
			together[a * CANDIDATES + b] |= NEAR;
	}
}

static void count_together(const struct faults *f, u64 window)
{
	static size_t last[65536 + 1];
	size_t *before = xzalloc(f->nr * sizeof(*before));
	size_t *after = xzalloc(f->nr * sizeof(*after));
	size_t i;
	u32 b;

	together = xzalloc(CANDIDATES * CANDIDATES * sizeof(*together));
	memset(last, 0xff, sizeof(last));
	for (i = 0; i < f->nr; i++) {
		const int cpu = f->fault[i].vcpu < 0 ? 65536 - f->fault[i].node : f->fault[i].vcpu;

		before[i] = last[cpu];
		after[i] = SIZE_MAX;
		if (last[cpu] != SIZE_MAX)
			after[last[cpu]] = i;
		last[cpu] = i;
	}
	for (i = 0; i < f->nr; i++) {
		u32 *row = &together[(size_t)accesses[i].object * CANDIDATES];

		if (accesses[i].object >= CANDIDATES)
			continue;
		mark_near(f, i, before, -1, window);
		mark_near(f, i, after, 1, window);
		for (b = 0; b < CANDIDATES; b++)
			if (row[b] & NEAR)
				row[b] = (row[b] & ~NEAR) + 1;
	}
	free(before);
	free(after);
}

/* Faults if each object is on the page of its unit; those of each object in @left. */
static u64 replay(const struct layout *l, u64 *left)
{
	u64 misses = 0;
	size_t i;

	memset(states, 0, (nr_stock + nr_own + l->nr_changes) * sizeof(*states));
	for (i = 0; i < nr_accesses; i++) {
		const struct access *a = &accesses[i];
		const struct object *o = a->object == NONE ? NULL : &l->objects[a->object];
		struct page_state *p = &states[a->stock];
		bool miss;

		if (o && o->unit)
			p = l->changes[o->unit - 1].nr == 1 ? &states[nr_stock + a->own] :
				&states[nr_stock + nr_own + o->unit - 1];
		if (!p->known)
			*p = (struct page_state){ 1ULL << a->home, a->home, true };
		if (a->write) {
			miss = p->writer != a->node;
			p->readers = 1ULL << a->node;
			p->writer = a->node;
		} else {
			miss = !(p->readers & 1ULL << a->node);
			p->readers |= 1ULL << a->node;
			if (miss)
				p->writer = -1;
		}
		misses += miss;
		if (miss && left && o)
			left[a->object]++;
	}
	return misses;
}

/* Room for one more change */
static void change_add(struct layout *l)
{
	l->changes = xrealloc(l->changes, (l->nr_changes + 1) * sizeof(*l->changes));
	l->changes[l->nr_changes++] = (struct change){ };
	states = xrealloc(states, (nr_stock + nr_own + l->nr_changes) * sizeof(*states));
}

static void unit_add(struct layout *l, size_t unit, u32 object)
{
	struct change *c = &l->changes[unit];

	c->objects = xrealloc(c->objects, (c->nr + 1) * sizeof(*c->objects));
	c->objects[c->nr++] = object;
	l->objects[object].unit = unit + 1;
}

static u64 unit_memory(const struct layout *l, const struct change *c)
{
	if (!c->nr)
		return 0;
	return c->nr > 1 ? PAGE_SIZE : l->objects[c->objects[0]].memory;
}

static u64 memory_of(const struct layout *l)
{
	u64 memory = 0;
	size_t i;

	for (i = 0; i < l->nr_changes; i++)
		memory += unit_memory(l, &l->changes[i]);
	return memory;
}

/**
 * layout_read() - the objects of a trace
 * @l:		the layout
 * @f:		faults; they are sorted by time
 * @window_ns:	what a CPU accesses within that, without the time it waits, it accesses together
 */
void layout_read(struct layout *l, struct faults *f, u64 window_ns)
{
	struct numbers pages = { }, own = { }, variables = { };
	size_t i;

	memset(l, 0, sizeof(*l));
	qsort(f->fault, f->nr, sizeof(*f->fault), by_time);
	accesses = xzalloc(f->nr * sizeof(*accesses));
	nr_accesses = f->nr;
	for (i = 0; i < f->nr; i++) {
		const struct fault *one = &f->fault[i];
		struct access *a = &accesses[i];
		const struct symbol *s;
		u64 inner;

		*a = (struct access){ NONE, number_of(&pages, one->page, 0), 0, one->node,
				      one->home, one->write };
		s = one->walk ? NO_SYMBOL : symbols_find_gpa(one->gpa, &inner);
		if (!s || s->is_kind || !s->link)
			continue;
		a->own = number_of(&own, s->start, inner / PAGE_SIZE);
		a->object = number_of(&variables, s->link, 0);
		if (a->object == l->nr_objects)
			add_object(l, s);
		l->objects[a->object].faults++;
	}
	nr_stock = pages.nr;
	nr_own = own.nr;
	free(pages.slot);
	free(own.slot);
	free(variables.slot);
	sort_objects(l);
	count_together(f, window_ns);
	states = xzalloc((nr_stock + nr_own) * sizeof(*states));
	l->faults = f->nr;
	l->replayed = replay(l, NULL);
	l->left = l->replayed;
	l->least = l->faults / SHARE > FEW ? l->faults / SHARE : FEW;
}

static bool may_move(const struct layout *l, size_t object)
{
	return !*l->objects[object].refused && l->objects[object].faults >= l->least;
}

/* Whether two objects are mostly accessed together, seen from both */
static bool belong(const struct layout *l, size_t a, size_t b)
{
	const u64 of_a = l->objects[a].faults, of_b = l->objects[b].faults;
	const u64 a_near = together[a * CANDIDATES + b], b_near = together[b * CANDIDATES + a];

	return !l->objects[a].percpu && !l->objects[b].percpu && 4 * a_near >= of_a &&
	       4 * b_near >= of_b && 2 * (a_near + b_near) >= of_a + of_b;
}

static u64 lines(const struct layout *l, size_t object)
{
	const struct object *o = &l->objects[object];
	u64 size = 0;
	size_t i;

	if (!o->unit)
		return (o->symbol->size + LINE - 1) / LINE;
	for (i = 0; i < l->changes[o->unit - 1].nr; i++)
		size += (l->objects[l->changes[o->unit - 1].objects[i]].symbol->size + LINE - 1) /
			LINE;
	return size;
}

/* Sets the unit of all that is together with an object. */
static void set_unit(struct layout *l, size_t object, size_t unit)
{
	const size_t old = l->objects[object].unit;
	size_t i;

	l->objects[object].unit = unit;
	for (i = 0; old && i < l->changes[old - 1].nr; i++)
		l->objects[l->changes[old - 1].objects[i]].unit = unit;
}

/* What a move would leave: @b goes to pages of its own if it is @a, else to where @a is. */
static u64 try_move(struct layout *l, size_t a, size_t b, u64 *memory)
{
	const size_t old_a = l->objects[a].unit, old_b = l->objects[b].unit;
	struct change *c = &l->changes[l->nr_changes - 1];
	u64 left;

	*memory = memory_of(l);
	if (old_a && a != b)
		*memory -= unit_memory(l, &l->changes[old_a - 1]);
	if (old_b && a != b)
		*memory -= unit_memory(l, &l->changes[old_b - 1]);
	*memory += a == b ? l->objects[a].memory : PAGE_SIZE;
	/* The last change is for trying: how many it has says only whether they share a page. */
	c->nr = a == b ? 1 : 2;
	set_unit(l, a, l->nr_changes);
	if (a != b)
		set_unit(l, b, l->nr_changes);
	left = replay(l, NULL);
	l->objects[a].unit = old_a;
	l->objects[b].unit = old_b;
	if (old_a)
		set_unit(l, a, old_a);
	if (old_b)
		set_unit(l, b, old_b);
	c->nr = 0;
	return left;
}

static void make_move(struct layout *l, size_t a, size_t b)
{
	const size_t old = a == b ? 0 : l->objects[b].unit;
	struct change *from;
	size_t unit = l->objects[a].unit, i;

	if (!unit) {
		unit = l->nr_changes;
		unit_add(l, unit - 1, a);
		change_add(l);
	}
	if (a == b)
		return;
	if (!old) {
		unit_add(l, unit - 1, b);
		return;
	}
	from = &l->changes[old - 1];
	for (i = 0; i < from->nr; i++)
		unit_add(l, unit - 1, from->objects[i]);
	from->nr = 0;
}

/* The best move there is; false if none is good enough. */
static bool best_move(struct layout *l, u64 max_memory, size_t *best_a, size_t *best_b)
{
	const size_t nr = l->nr_objects < CANDIDATES ? l->nr_objects : CANDIDATES;
	u64 best = l->left, best_memory = 0, left, memory;
	size_t a, b;

	for (a = 0; a < nr; a++) {
		for (b = a; b < nr; b++) {
			if (!may_move(l, a) || !may_move(l, b))
				continue;
			if (a == b ? l->objects[a].unit : !belong(l, a, b))
				continue;
			if (a != b && ((l->objects[a].unit &&
					l->objects[a].unit == l->objects[b].unit) ||
				       (lines(l, a) + lines(l, b)) * LINE > PAGE_SIZE))
				continue;
			left = try_move(l, a, b, &memory);
			if (left > best || (left == best && memory >= best_memory))
				continue;
			if (memory > max_memory)
				continue;
			best = left;
			best_memory = memory;
			*best_a = a;
			*best_b = b;
		}
	}
	return l->left - best >= l->least;
}

/* Empty units go, and each gets its figures, in the order in which they will be made. */
static void count_changes(struct layout *l)
{
	size_t i, j, n = 0;
	u64 *left = xzalloc(l->nr_objects * sizeof(*left));
	struct change *c;

	for (i = 0; i < l->nr_changes; i++) {
		if (l->changes[i].nr)
			l->changes[n++] = l->changes[i];
		else
			free(l->changes[i].objects);
	}
	l->nr_changes = n;
	for (i = 0; i < l->nr_objects; i++)
		l->objects[i].unit = 0;
	for (i = 0; i < n; i++) {
		c = &l->changes[i];
		for (j = 0; j < c->nr; j++)
			l->objects[c->objects[j]].unit = i + 1;
		memset(left, 0, l->nr_objects * sizeof(*left));
		c->left = replay(l, left);
		c->memory = unit_memory(l, c);
		for (j = 0; j < c->nr; j++) {
			c->own_faults += l->objects[c->objects[j]].faults;
			c->own_left += left[c->objects[j]];
		}
	}
	memset(left, 0, l->nr_objects * sizeof(*left));
	l->left = replay(l, left);
	for (i = 0; i < l->nr_objects; i++)
		l->objects[i].left = left[i];
	free(left);
}

/* What each object that stays where it is would have had of pages of its own */
static void count_alone(struct layout *l)
{
	u64 memory;
	size_t i;

	for (i = 0; i < l->nr_objects && l->objects[i].faults >= l->least; i++)
		if (!l->objects[i].unit)
			l->objects[i].alone = try_move(l, i, i, &memory);
}

/**
 * layout_choose() - the changes that save most
 * @l:		the layout; objects that may not be moved have their @refused set
 * @max_memory:	bytes that all changes may cost
 */
void layout_choose(struct layout *l, u64 max_memory)
{
	size_t a = 0, b = 0;
	u64 memory;

	change_add(l);
	while (best_move(l, max_memory, &a, &b)) {
		l->left = try_move(l, a, b, &memory);
		make_move(l, a, b);
	}
	count_alone(l);
	count_changes(l);
	l->memory = memory_of(l);
}

/**
 * layout_free() - give back what layout_read() took
 * @l:		the layout
 */
void layout_free(struct layout *l)
{
	size_t i;

	for (i = 0; i < l->nr_changes; i++)
		free(l->changes[i].objects);
	free(l->changes);
	free(l->objects);
	free(accesses);
	free(together);
	free(states);
}
