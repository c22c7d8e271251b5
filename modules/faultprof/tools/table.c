// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables of symbols by address.  Names are the table's own copies; symbols do not move once it is
 * sorted, so two are the same if they are at the same place.
 */
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

/**
 * table_add() - add a symbol
 * @t:		the table, not yet sorted
 * @s:		what is copied, the name too
 */
void table_add(struct table *t, const struct symbol *s)
{
	if (t->nr == t->room) {
		t->room = t->room ? 2 * t->room : 256;
		t->symbol = xrealloc(t->symbol, t->room * sizeof(*t->symbol));
	}
	t->symbol[t->nr] = *s;
	t->symbol[t->nr++].name = strdup(s->name);
}

/* By address; of those at one address the one that has a size first. */
static int compare(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return strcmp(x->name, y->name);
}

/**
 * table_sort() - make a table ready for table_find()
 * @t:		the table
 * @end:	where its last symbol ends, if it has no size
 *
 * Of symbols at one address the first by compare() stays.
 */
void table_sort(struct table *t, u64 end)
{
	struct symbol *s = t->symbol;
	size_t i, n = 0;

	if (!t->nr)
		return;
	qsort(s, t->nr, sizeof(*s), compare);
	for (i = 0; i < t->nr; i++) {
		if (!n || s[i].start != s[n - 1].start)
			s[n++] = s[i];
		else
			free((char *)s[i].name);
	}
	t->nr = n;
	for (i = 0; i < n; i++)
		if (!s[i].size)
			s[i].size = (i + 1 < n ? s[i + 1].start : end) - s[i].start;
}

/**
 * table_find() - what lies at an address
 * @t:		the table, sorted
 * @address:	the address
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *table_find(const struct table *t, u64 address)
{
	size_t lo = 0, hi = t->nr;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (t->symbol[mid].start <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || address - t->symbol[lo - 1].start >= t->symbol[lo - 1].size)
		return NO_SYMBOL;
	return &t->symbol[lo - 1];
}

/**
 * table_free() - give a table's memory back
 * @t:		the table
 */
void table_free(struct table *t)
{
	size_t i;

	for (i = 0; i < t->nr; i++)
		free((char *)t->symbol[i].name);
	free(t->symbol);
}
