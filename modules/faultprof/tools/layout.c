// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which objects should lie elsewhere: alone on pages of their own, or together on one page that
 * holds nothing else.  All faults are replayed, in order, through the states that a page has at
 * its nodes, each at the page that its object would be on; the change that saves most is made,
 * and then the next, until none saves enough or memory runs out.
 *
 * What is moved is a variable, or the objects of a slab cache, apart from each other.  What would
 * still be shared then, but less if its members parted, is split: each member that was accessed
 * is an object by itself, which can only be alone.  The elements of an array are one such object.
 * It is not split if those that can move have less than a quarter of its faults.
 *
 * An access that was a hit is not in the trace, so that of a lock and its data on one page only
 * the first that is accessed is seen.  They must not part: variables of one page stay together if
 * the functions whose faults are at the one name the other.  Variables of several pages are put
 * together only if they are mostly accessed by one CPU within a short time; hits may become faults
 * then, and what it gains is to be measured.  Members of slab objects stay together by the same
 * rule; what names them is an offset in an instruction, which may be another structure's, too.
 */
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define FEW		8	/* faults that say nothing */
#define SHARE		1000	/* of all faults that a change saves, at least one in so many */
#define NEIGHBOURS	8	/* faults of a CPU, before and after one, that may belong to it */
#define LINE		64	/* each object of a group begins one */
#define NONE		UINT32_MAX

/* A fault, as the replay needs it */
struct access {
	u32 object;	/* or NONE */
	u32 stock;	/* the page it is on, counted without gaps */
	u32 own;	/* the page it would be on if the object had its own, likewise */
	const struct symbol *function;
	u64 near[CANDIDATES / 64];	/* objects that the same CPU accesses then */
	u8 node, home;
	bool write;
};

static struct access *accesses;
static size_t nr_accesses;
static u32 nr_stock, nr_own;

/* Of each page; nobody has one that was not accessed yet */
static struct msi *states;

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

/* Bytes that its own pages take: those of a part, and of what is before and behind it */
static u64 memory_for(const struct symbol *s, const struct part *p)
{
	u64 pages = (s->size + PAGE_SIZE - 1) / PAGE_SIZE ?: 1;

	if (p && p->element)
		pages = p->nr;
	else if (p)
		pages += 2;
	return pages * PAGE_SIZE * (s->cache ? memory_objects(s->cache) :
				    symbols_is_percpu(s) ? memory_cpus() : 1);
}

static void add_object(struct layout *l, const struct symbol *s, const struct part *p)
{
	struct object *o;

	/* Room for a power of two */
	if (!(l->nr_objects & (l->nr_objects - 1)))
		l->objects = xrealloc(l->objects, (2 * l->nr_objects + 1) * sizeof(*o));
	o = &l->objects[l->nr_objects++];
	memset(o, 0, sizeof(*o));
	o->symbol = s;
	o->percpu = symbols_is_percpu(s);
	o->memory = memory_for(s, p);
	if (p)
		*(o->part = xzalloc(sizeof(*p))) = *p;
	if (p || s->cache)
		snprintf(o->label, sizeof(o->label), "%.60s%s", s->cache ?: s->name,
			 p ? p->name : "");
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

/* Marks the objects that the same CPU's faults before fault @i, or after it, are at. */
static void mark_near(const struct faults *f, size_t i, const size_t *next, int step, u64 window)
{
	struct access *of = &accesses[i];
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
		if (b < CANDIDATES && b != of->object)
			of->near[b / 64] |= 1ULL << b % 64;
	}
}

static void find_near(const struct faults *f, u64 window)
{
	static size_t last[65536 + 1];
	size_t *before = xzalloc(f->nr * sizeof(*before));
	size_t *after = xzalloc(f->nr * sizeof(*after));
	size_t i;

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
		if (accesses[i].object >= CANDIDATES)
			continue;
		mark_near(f, i, before, -1, window);
		mark_near(f, i, after, 1, window);
	}
	free(before);
	free(after);
}

/* How many objects may be moved */
static size_t candidates(const struct layout *l)
{
	return l->nr_objects < CANDIDATES ? l->nr_objects : CANDIDATES;
}

/* What a function names, as it is found */
struct named {
	const struct layout *l;
	bool seen[CANDIDATES];
	bool surely[CANDIDATES];
};

/* Whether an object is at an offset of a variable, or all of that */
static bool is_at(const struct object *o, const struct symbol *s, u64 offset)
{
	struct part p;

	return o->symbol->link == s->link &&
	       (!o->part || o->part->element ||
		(dwarf_part(s, offset, &p) && p.start == o->part->start));
}

static void see_named(const struct symbol *s, u64 offset, void *arg)
{
	struct named *n = arg;
	size_t i;

	for (i = 0; i < candidates(n->l); i++) {
		if (!n->surely[i])
			n->surely[i] = is_at(&n->l->objects[i], s, offset);
		n->seen[i] |= n->surely[i];
	}
}

/* A member of slab objects */
static bool is_member(const struct object *o)
{
	return o->part && !o->part->element && o->symbol->cache;
}

static void see_offset(u64 offset, bool wide, void *arg)
{
	struct named *n = arg;
	size_t i;

	for (i = 0; i < candidates(n->l); i++) {
		const struct object *o = &n->l->objects[i];

		if (!is_member(o) || offset < o->part->start || offset >= o->part->end)
			continue;
		n->seen[i] = true;
		n->surely[i] |= wide;
	}
}

/* What a function names: variables, and, of whatever slab cache, members */
static void find_named(struct named *n, const struct symbol *function)
{
	memset(n->seen, 0, sizeof(n->seen));
	memset(n->surely, 0, sizeof(n->surely));
	code_variables(function, see_named, n);
	code_offsets(function, see_offset, n);
}

/*
 * Each function's faults, by object; of per-CPU variables those of other nodes, for these are who
 * would have to fetch one page more
 */
struct caller {
	const struct symbol *function;
	u32 faults[CANDIDATES], writes[CANDIDATES];
};

static struct caller *find_callers(const struct layout *l, size_t *nr)
{
	struct numbers functions = { };
	struct caller *callers = NULL;
	size_t i;
	u32 n;

	*nr = 0;
	for (i = 0; i < nr_accesses; i++) {
		const struct access *a = &accesses[i];

		if (a->object >= CANDIDATES || !a->function ||
		    (l->objects[a->object].percpu && a->node == a->home))
			continue;
		n = number_of(&functions, a->function->start, 0);
		if (n == *nr) {
			if (!(*nr & (*nr - 1)))
				callers = xrealloc(callers, (2 * *nr + 1) * sizeof(*callers));
			memset(&callers[n], 0, sizeof(*callers));
			callers[(*nr)++].function = a->function;
		}
		callers[n].faults[a->object]++;
		callers[n].writes[a->object] += a->write;
	}
	free(functions.slot);
	return callers;
}

static bool share_page(const struct object *x, const struct object *y)
{
	const struct symbol *a = x->symbol, *b = y->symbol;

	/* Which slab object code means is not known, but for two members it is the same one. */
	if (a->cache || b->cache)
		return a->cache == b->cache && is_member(x) && is_member(y);
	return x->percpu == y->percpu &&
	       a->link / PAGE_SIZE <= (b->link + b->size - 1) / PAGE_SIZE &&
	       b->link / PAGE_SIZE <= (a->link + a->size - 1) / PAGE_SIZE;
}

/* All that is with @b is with @a. */
static void join(struct layout *l, size_t a, size_t b)
{
	const size_t to = l->objects[a].with, from = l->objects[b].with;
	size_t i;

	for (i = 0; i < candidates(l); i++)
		if (l->objects[i].with == from)
			l->objects[i].with = to;
}

/* Faults of an object by functions that name another */
struct naming {
	u32 faults, writes;
};

/*
 * What is mostly accessed by functions that do not name it, as locks are, is accessed for those
 * that do: gets how many functions name both of two objects, and on the diagonal one.
 */
static u32 *count_names(struct layout *l)
{
	u32 *named_by = xzalloc(CANDIDATES * CANDIDATES * sizeof(*named_by));
	struct named named = { .l = l };
	const struct symbol *f;
	size_t i, a, b;

	for (i = 0; (f = symbols_nth(i)); i++) {
		const char *section = symbols_section(f);

		if (!section || strcmp(section, ".text"))
			continue;
		find_named(&named, f);
		for (a = 0; a < candidates(l); a++)
			for (b = 0; named.surely[a] && b < candidates(l); b++)
				named_by[a * CANDIDATES + b] += named.seen[b];
	}
	return named_by;
}

/* Variables of one page that must not part */
static void find_companions(struct layout *l)
{
	struct naming *naming = xzalloc(CANDIDATES * CANDIDATES * sizeof(*naming)), *n;
	u32 *writes = xzalloc(CANDIDATES * sizeof(*writes));
	u32 *named_by = count_names(l), *own;
	struct named named = { .l = l };
	size_t nr_callers, i, a, b;
	struct caller *callers;

	callers = find_callers(l, &nr_callers);
	for (i = 0; i < nr_callers; i++) {
		find_named(&named, callers[i].function);
		for (a = 0; a < candidates(l); a++) {
			writes[a] += callers[i].writes[a];
			for (b = 0; callers[i].faults[a] && b < candidates(l); b++) {
				n = &naming[a * CANDIDATES + b];
				n->faults += named.seen[b] ? callers[i].faults[a] : 0;
				n->writes += named.seen[b] ? callers[i].writes[a] : 0;
			}
		}
	}
	for (a = 0; a < l->nr_objects; a++)
		l->objects[a].with = a;
	for (a = 0; a < candidates(l); a++) {
		for (b = 0; b < candidates(l); b++) {
			const struct object *x = &l->objects[a], *y = &l->objects[b];
			const u64 faults = x->percpu ? x->remote : x->faults;
			bool linked;

			if (a == b || !share_page(x, y))
				continue;
			n = &naming[a * CANDIDATES + b];
			linked = (n->faults && n->faults * 4ULL >= faults) ||
				 (n->writes && n->writes * 2ULL >= writes[a]);
			own = &named_by[a * CANDIDATES];
			if (naming[a * CANDIDATES + a].faults * 4ULL < faults)
				linked |= own[b] && own[b] * 4 >= own[a];
			/* What only its own CPU accesses does not come along. */
			linked &= !x->percpu || (x->remote * 4 >= x->faults &&
						 y->remote * 4 >= y->faults);
			if (linked)
				join(l, a, b);
		}
	}
	free(callers);
	free(named_by);
	free(naming);
	free(writes);
}

/* An access to a page, which is at its home before the first; whether it is a miss */
static bool touch(struct msi *p, const struct access *a)
{
	if (!p->readers)
		*p = (struct msi){ 1ULL << a->home, a->home };
	return msi_access(p, a->node, a->write);
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
		struct msi *p = &states[a->stock];
		bool miss;

		if (o && o->unit)
			p = l->changes[o->unit - 1].nr == 1 ? &states[nr_stock + a->own] :
				&states[nr_stock + nr_own + o->unit - 1];
		miss = touch(p, a);
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

/* What a fault is at, if that can be moved; NO_SYMBOL if not */
static const struct symbol *object_of(const struct fault *f, u64 *inner)
{
	const struct symbol *s = f->walk ? NO_SYMBOL : symbols_find_accessed(f, inner);

	return s && !s->is_kind && (s->link || s->cache) ? s : NO_SYMBOL;
}

/* A variable, or all objects of a slab cache */
static u64 whole_of(const struct symbol *s)
{
	return s->cache ? (uintptr_t)s->cache : s->link;
}

/*
 * Which variables and caches are split, numbered as they come: those that have misses on pages of
 * their own of which their parts would not have a good part, and can move.
 */
static bool *find_split(const struct layout *l, const struct faults *f)
{
	struct numbers wholes = { }, own = { }, parts = { };
	u64 *whole_misses = xzalloc(f->nr * sizeof(*whole_misses));
	u64 *part_misses = xzalloc(f->nr * sizeof(*part_misses));
	struct msi *of_own = xzalloc(f->nr * sizeof(*of_own));
	struct msi *of_part = xzalloc(f->nr * sizeof(*of_part));
	bool *split = xzalloc(f->nr * sizeof(*split));
	struct part part;
	size_t i;
	u64 inner;
	u32 n;

	for (i = 0; i < f->nr; i++) {
		const struct symbol *s = object_of(&f->fault[i], &inner);

		if (!s || symbols_is_percpu(s) || !dwarf_part(s, inner, &part))
			continue;
		n = number_of(&wholes, whole_of(s), 0);
		whole_misses[n] += touch(&of_own[number_of(&own, s->start, inner / PAGE_SIZE)],
					 &accesses[i]);
		part_misses[n] += touch(&of_part[number_of(&parts, s->start, part.start)],
					&accesses[i]);
	}
	for (n = 0; n < wholes.nr; n++)
		split[n] = whole_misses[n] >= part_misses[n] + FEW &&
			   10 * part_misses[n] <= 7 * whole_misses[n];
	for (i = 0; i < l->nr_whole; i++)
		split[number_of(&wholes, l->whole[i].of, 0)] = false;
	free(whole_misses);
	free(part_misses);
	free(of_own);
	free(of_part);
	free(wholes.slot);
	free(own.slot);
	free(parts.slot);
	return split;
}

static void read_objects(struct layout *l, struct faults *f)
{
	struct numbers pages = { }, own = { }, objects = { };
	struct numbers wholes = { };
	bool *split;
	size_t i;

	qsort(f->fault, f->nr, sizeof(*f->fault), by_time);
	accesses = xzalloc(f->nr * sizeof(*accesses));
	nr_accesses = f->nr;
	for (i = 0; i < f->nr; i++) {
		const struct fault *one = &f->fault[i];

		accesses[i] = (struct access){ NONE, number_of(&pages, one->page, 0), 0,
					       symbols_find(one->ip), { }, one->node, one->home,
					       one->write };
	}
	split = find_split(l, f);
	for (i = 0; i < f->nr; i++) {
		const struct fault *one = &f->fault[i];
		struct access *a = &accesses[i];
		const struct symbol *s;
		struct part part;
		bool has_part;
		u64 inner, of;
		u32 n;

		s = object_of(one, &inner);
		if (!s)
			continue;
		of = whole_of(s);
		/* As find_split() numbers them */
		has_part = !symbols_is_percpu(s) && dwarf_part(s, inner, &part);
		n = has_part ? number_of(&wholes, of, 0) : 0;
		has_part = has_part && split[n];
		a->own = number_of(&own, s->start + (has_part ? part.start : 0),
				   has_part ? 0 : inner / PAGE_SIZE + 1);
		a->object = number_of(&objects, of, !has_part ? 0 : part.element ? 1 :
				      part.start + 2);
		if (a->object == l->nr_objects)
			add_object(l, s, has_part ? &part : NULL);
		l->objects[a->object].faults++;
		l->objects[a->object].remote += one->node != one->home;
	}
	nr_stock = pages.nr;
	nr_own = own.nr;
	free(pages.slot);
	free(own.slot);
	free(objects.slot);
	free(wholes.slot);
	free(split);
	sort_objects(l);
	find_near(f, l->window_ns);
	find_companions(l);
	states = xzalloc((nr_stock + nr_own) * sizeof(*states));
	l->faults = f->nr;
	l->replayed = replay(l, NULL);
	l->left = l->replayed;
	l->least = l->faults / SHARE > FEW ? l->faults / SHARE : FEW;
}

static void free_objects(struct layout *l)
{
	size_t i;

	for (i = 0; i < l->nr_objects; i++)
		free(l->objects[i].part);
	free(l->objects);
	free(accesses);
	free(states);
	l->objects = NULL;
	l->nr_objects = 0;
}

/**
 * layout_read() - the objects of a trace
 * @l:		the layout
 * @f:		faults; they are sorted by time
 * @window_ns:	what a CPU accesses within that, its waiting not counted, it accesses together
 */
void layout_read(struct layout *l, struct faults *f, u64 window_ns)
{
	memset(l, 0, sizeof(*l));
	l->window_ns = window_ns;
	read_objects(l, f);
}

/* Whether two objects are where they are only together */
static bool is_with(const struct layout *l, size_t a, size_t b)
{
	return l->objects[a].unit ? l->objects[a].unit == l->objects[b].unit :
				    l->objects[a].with == l->objects[b].with;
}

/* Whether an object, or what must not part from it, cannot be moved */
static bool is_fixed(const struct layout *l, size_t object)
{
	size_t i;

	for (i = 0; i < candidates(l) && !(is_with(l, object, i) && l->objects[i].fixed); i++)
		;
	return object >= CANDIDATES || i < candidates(l);
}

/**
 * layout_join() - what cannot part is one object
 * @l:	the layout; members that cannot be moved have their @fixed set
 * @f:	the faults that it is of
 *
 * A variable, or a cache, is not split if those members that can move have less than a quarter of
 * its faults: its objects may still have pages of their own.
 *
 * Return: whether there was such a one; all objects are new then.
 */
bool layout_join(struct layout *l, struct faults *f)
{
	const size_t before = l->nr_whole;
	size_t i, j;

	for (i = 0; i < candidates(l); i++) {
		const struct object *o = &l->objects[i];
		const u64 of = whole_of(o->symbol);
		u64 all = 0, fixed = 0;

		for (j = before; j < l->nr_whole && l->whole[j].of != of; j++)
			;
		if (!o->fixed || !o->part || j < l->nr_whole)
			continue;
		for (j = 0; j < l->nr_objects; j++) {
			if (!l->objects[j].part || whole_of(l->objects[j].symbol) != of)
				continue;
			all += l->objects[j].faults;
			fixed += is_fixed(l, j) ? l->objects[j].faults : 0;
		}
		if (4 * (all - fixed) >= all)
			continue;
		l->whole = xrealloc(l->whole, (l->nr_whole + 1) * sizeof(*l->whole));
		l->whole[l->nr_whole].of = of;
		snprintf(l->whole[l->nr_whole++].why, sizeof(l->whole->why), "%.60s: %s",
			 o->label, o->refused);
	}
	if (l->nr_whole == before)
		return false;
	free_objects(l);
	read_objects(l, f);
	for (i = 0; i < l->nr_objects; i++)
		for (j = 0; j < l->nr_whole; j++)
			if (l->whole[j].of == whole_of(l->objects[i].symbol))
				l->objects[i].parts = l->whole[j].why;
	return true;
}

/* What a set of objects is, counted */
struct set {
	u64 faults, lines;
	size_t nr;
};

static struct set set_of(const struct layout *l, size_t object)
{
	struct set set = { };
	size_t i;

	for (i = 0; i < candidates(l); i++) {
		const struct object *o = &l->objects[i];

		if (!is_with(l, object, i))
			continue;
		set.nr++;
		set.faults += o->faults;
		set.lines += (o->symbol->size + LINE - 1) / LINE;
	}
	return set;
}

/* An object that cannot be moved keeps those that must not part from it. */
static void refuse_companions(struct layout *l)
{
	size_t i, j;

	for (i = 0; i < candidates(l); i++) {
		const struct set set = set_of(l, i);

		for (j = 0; j < candidates(l) && !*l->objects[i].refused; j++)
			if (is_with(l, i, j) && *l->objects[j].refused)
				snprintf(l->objects[i].refused, sizeof(l->objects[i].refused),
					 "it has to stay with %.60s, which cannot move",
					 *l->objects[j].label ? l->objects[j].label :
								l->objects[j].symbol->name);
		if (!*l->objects[i].refused && set.nr > 1 && l->objects[i].percpu)
			snprintf(l->objects[i].refused, sizeof(l->objects[i].refused),
				 "other nodes access more than it on its page");
		if (!*l->objects[i].refused && set.nr > 1 && l->objects[i].part)
			snprintf(l->objects[i].refused, sizeof(l->objects[i].refused),
				 "what it is accessed together with does not move with a member");
		if (!*l->objects[i].refused && set.nr > 1 && set.lines * LINE > PAGE_SIZE)
			snprintf(l->objects[i].refused, sizeof(l->objects[i].refused),
				 "what has to stay with it does not fit a page");
	}
}

/* The objects that are where @object is, as bits */
static void bits_of(const struct layout *l, size_t object, u64 *bits)
{
	size_t i;

	memset(bits, 0, CANDIDATES / 8);
	for (i = 0; i < candidates(l); i++)
		if (is_with(l, object, i))
			bits[i / 64] |= 1ULL << i % 64;
}

/* Whether what is with two objects is mostly accessed together, seen from both */
static bool belong(const struct layout *l, size_t a, size_t b)
{
	u64 bits_a[CANDIDATES / 64], bits_b[CANDIDATES / 64];
	u64 of_a = 0, of_b = 0, a_near = 0, b_near = 0;
	size_t i, j;

	bits_of(l, a, bits_a);
	bits_of(l, b, bits_b);
	for (i = 0; i < nr_accesses; i++) {
		const struct access *x = &accesses[i];
		u64 near_a = 0, near_b = 0;

		if (x->object >= CANDIDATES)
			continue;
		for (j = 0; j < CANDIDATES / 64; j++) {
			near_a |= x->near[j] & bits_a[j];
			near_b |= x->near[j] & bits_b[j];
		}
		if (bits_a[x->object / 64] & 1ULL << x->object % 64) {
			of_a++;
			a_near += near_b != 0;
		} else if (bits_b[x->object / 64] & 1ULL << x->object % 64) {
			of_b++;
			b_near += near_a != 0;
		}
	}
	return 4 * a_near >= of_a && 4 * b_near >= of_b && 2 * (a_near + b_near) >= of_a + of_b;
}

/* Puts what is with @a, and what is with @b, into the unit that is kept for that. */
static void move(struct layout *l, size_t a, size_t b)
{
	struct change *c = &l->changes[l->nr_changes - 1];
	bool moves[CANDIDATES];
	size_t i;

	c->nr = 0;
	for (i = 0; i < candidates(l); i++) {
		moves[i] = is_with(l, a, i) || is_with(l, b, i);
		c->nr += moves[i];
	}
	for (i = 0; i < candidates(l); i++)
		if (moves[i])
			l->objects[i].unit = l->nr_changes;
}

static u64 unit_memory(const struct layout *l, size_t unit)
{
	size_t i;

	for (i = 0; i < candidates(l); i++)
		if (l->objects[i].unit == unit + 1)
			return l->changes[unit].nr > 1 ? PAGE_SIZE : l->objects[i].memory;
	return 0;
}

static u64 memory_of(const struct layout *l)
{
	u64 memory = 0;
	size_t i;

	for (i = 0; i < l->nr_changes; i++)
		memory += unit_memory(l, i);
	return memory;
}

/* What a move would leave */
static u64 try_move(struct layout *l, size_t a, size_t b, u64 *memory)
{
	size_t units[CANDIDATES], i;
	u64 left;

	for (i = 0; i < candidates(l); i++)
		units[i] = l->objects[i].unit;
	move(l, a, b);
	left = replay(l, NULL);
	*memory = memory_of(l);
	for (i = 0; i < candidates(l); i++)
		l->objects[i].unit = units[i];
	l->changes[l->nr_changes - 1].nr = 0;
	return left;
}

/* Whether an object is the first of those that are where it is: one of them is tried. */
static bool is_first(const struct layout *l, size_t object)
{
	size_t i;

	for (i = 0; i < object; i++)
		if (is_with(l, i, object))
			return false;
	return true;
}

/* A variable that can share a page with another */
static bool is_plain(const struct object *o)
{
	return !o->percpu && !o->part && !o->symbol->cache;
}

/* In a module a group is of one file. */
static bool may_share(const struct object *a, const struct object *b)
{
	if (!is_plain(a) || !is_plain(b) ||
	    symbols_is_module(a->symbol) != symbols_is_module(b->symbol))
		return false;
	return !symbols_is_module(a->symbol) || !strcmp(a->where.file, b->where.file);
}

/* Whether there is such a move: of what is with @a alone if @b is @a, else with what is with @b */
static bool may_move(const struct layout *l, size_t a, size_t b)
{
	struct set with_a, with_b;

	if (*l->objects[a].refused || *l->objects[b].refused || !is_first(l, a) || !is_first(l, b))
		return false;
	with_a = set_of(l, a);
	with_b = set_of(l, b);
	if (with_a.faults < l->least || with_b.faults < l->least)
		return false;
	if (a == b)
		return !l->objects[a].unit;
	return (with_a.lines + with_b.lines) * LINE <= PAGE_SIZE &&
	       may_share(&l->objects[a], &l->objects[b]) && belong(l, a, b);
}

/* The best move there is; false if none is good enough. */
static bool best_move(struct layout *l, u64 max_memory, size_t *best_a, size_t *best_b)
{
	u64 best = l->left, best_memory = 0, left, memory;
	size_t a, b;

	for (a = 0; a < candidates(l); a++) {
		for (b = a; b < candidates(l); b++) {
			if (!may_move(l, a, b))
				continue;
			left = try_move(l, a, b, &memory);
			if (memory > max_memory || left > best ||
			    (left == best && memory >= best_memory))
				continue;
			best = left;
			best_memory = memory;
			*best_a = a;
			*best_b = b;
		}
	}
	return l->left - best >= l->least;
}

/* Empty units go, and each gets its objects and figures, in the order of their gain. */
static void count_changes(struct layout *l)
{
	u64 *left = xzalloc(l->nr_objects * sizeof(*left));
	size_t i, j, n = 0, nr = l->nr_changes;
	size_t units[CANDIDATES];
	struct change *c;

	for (j = 0; j < candidates(l); j++) {
		units[j] = l->objects[j].unit;
		l->objects[j].unit = 0;
	}
	for (i = 0; i < nr; i++) {
		c = &l->changes[n];
		*c = (struct change){ };
		memset(left, 0, l->nr_objects * sizeof(*left));
		for (j = 0; j < candidates(l); j++) {
			if (units[j] != i + 1)
				continue;
			c->objects = xrealloc(c->objects, (c->nr + 1) * sizeof(*c->objects));
			c->objects[c->nr++] = j;
			c->own_faults += l->objects[j].faults;
			l->objects[j].unit = n + 1;
		}
		if (!c->nr)
			continue;
		c->left = replay(l, left);
		c->memory = unit_memory(l, n);
		for (j = 0; j < c->nr; j++)
			c->own_left += left[c->objects[j]];
		n++;
	}
	l->nr_changes = n;
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
		if (!l->objects[i].unit && i < CANDIDATES)
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

	refuse_companions(l);
	change_add(l);
	while (best_move(l, max_memory, &a, &b)) {
		l->left = try_move(l, a, b, &memory);
		move(l, a, b);
		change_add(l);
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
	free(l->whole);
	free_objects(l);
}
