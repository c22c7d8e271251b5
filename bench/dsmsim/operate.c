// SPDX-License-Identifier: GPL-2.0-only
/*
 * What spinlocks protect in the workloads, as in the paper's 5.4.
 *
 * The counter is one word.  The list is one of ELEMENTS, spread over LIST_PAGES pages so that
 * each is on another page than the one before; an operation walks all of it and adds 1 to each,
 * the way a list of statistics is updated, or one of ages.  Each element is written first, so its
 * page comes for writing at once.
 *
 * An operation's result is the count that it found, so each has another.
 */
#include "operate.h"
#include "sim.h"

#define LIST_PAGES	8
#define ELEMENTS	64
#define ELEMENT_SIZE	(LIST_PAGES * PAGE_SIZE / ELEMENTS)

struct element {
	struct element *next;
	u64 value;
};

static unsigned long count(void *data, unsigned long arg)
{
	u64 *counter = data;

	(void)arg;
	sim_access(counter, true, true);
	return (*counter)++;
}

static bool count_check(void *data, u64 ops)
{
	return *(u64 *)data == ops;
}

static unsigned long walk(void *data, unsigned long arg)
{
	struct element *e = data;
	u64 first = e->value;

	(void)arg;
	for (; e; e = e->next) {
		sim_access(&e->value, true, true);
		if (e->value++ != first)
			plat_bug("two operations run at once");
		sim_access(&e->next, false, true);
	}
	return first;
}

static bool walk_check(void *data, u64 ops)
{
	struct element *e;
	int nr = 0;

	for (e = data; e; e = e->next, nr++)
		if (e->value != ops)
			return false;
	return nr == ELEMENTS;
}

const struct operate_kind operate_counter = { "counter", 1, count, count_check };
const struct operate_kind operate_list = { "list", LIST_PAGES, walk, walk_check };

void *operate_init(const struct operate_kind *kind)
{
	char *data = sim_alloc(0, kind->pages * PAGE_SIZE, "data");
	struct element *e, *last = NULL;
	int i;

	for (i = 0; kind == &operate_list && i < ELEMENTS; i++) {
		e = (struct element *)(data + i % LIST_PAGES * PAGE_SIZE +
				       i / LIST_PAGES * ELEMENT_SIZE);
		if (last)
			last->next = e;
		last = e;
	}
	return data;
}
