// SPDX-License-Identifier: GPL-2.0-only
/*
 * The workloads: a counter, a list whose items move to its end, and two words that writers keep
 * alike and readers compare.  Each leaves behind what tells whether every operation ran alone.
 *
 * Memory stays whole whatever the lock lets through: a list that was spoilt still consists
 * of items, and nobody follows it further than there are any.
 */
#include <linux/compiler.h>
#include <linux/kernel.h>
#include <linux/processor.h>

#include "bench.h"
#include "thread.h"

static void hold(const struct data *data)
{
	unsigned int i;

	for (i = 0; i < data->hold; i++)
		cpu_relax();
}

/**
 * data_init - make what the lock protects
 * @data: it, zeroed
 * @hold: rounds of cpu_relax() in an operation
 *
 * Context: any.
 */
void data_init(struct data *data, unsigned int hold)
{
	data->hold = hold;
	INIT_LIST_HEAD(&data->list);
}

/* list_add_tail() that looks at nothing: the kernel's would stop the machine over no lock. */
static void append(struct data *data, struct item *item)
{
	struct list_head *last = READ_ONCE(data->list.prev);

	item->list.next = &data->list;
	item->list.prev = last;
	WRITE_ONCE(last->next, &item->list);
	WRITE_ONCE(data->list.prev, &item->list);
}

/**
 * data_add_items - put items into the list, at its end
 * @data: nobody uses it yet
 * @item: the first of them
 * @n: so many
 *
 * Context: any.
 */
void data_add_items(struct data *data, struct item *item, unsigned int n)
{
	for (; n; n--, item++) {
		item->stamp = ++data->stamp;
		item->seen = false;
		data->items++;
		append(data, item);
	}
}

static unsigned long no_arg(struct thread *t, unsigned int i)
{
	return OP_WRITE;
}

static unsigned long counter_op(void *arg, unsigned long unused)
{
	struct data *data = arg;
	u64 counter = READ_ONCE(data->counter);

	hold(data);
	WRITE_ONCE(data->counter, counter + 1);
	return 0;
}

static bool counter_check(struct data *data, u64 reads, u64 writes, char *what, size_t size)
{
	scnprintf(what, size, "counter %llu, expected %llu", data->counter, writes);
	return data->counter == writes;
}

const struct workload workload_counter = {
	.name = "counter",
	.op = counter_op,
	.arg = no_arg,
	.check = counter_check,
};

/* Each thread moves its own items to the end, in turn. */
static unsigned long list_arg(struct thread *t, unsigned int i)
{
	return (unsigned long)&t->item[i % NR_ITEMS];
}

static unsigned long list_op(void *arg, unsigned long item_arg)
{
	struct item *item = (struct item *)item_arg;
	struct data *data = arg;
	u64 stamp = READ_ONCE(data->stamp) + 1;

	__list_del(READ_ONCE(item->list.prev), READ_ONCE(item->list.next));
	hold(data);
	item->stamp = stamp;
	append(data, item);
	WRITE_ONCE(data->stamp, stamp);
	return 0;
}

static bool list_check(struct data *data, u64 reads, u64 writes, char *what, size_t size)
{
	struct list_head *pos, *prev = &data->list;
	u64 n = 0, last = 0, unordered = 0, unlinked = 0;

	for (pos = data->list.next; pos != &data->list; prev = pos, pos = pos->next) {
		struct item *item = list_entry(pos, struct item, list);

		if (item->seen)
			break;
		item->seen = true;
		n++;
		unordered += item->stamp <= last;
		unlinked += pos->prev != prev;
		last = item->stamp;
	}
	unlinked += pos->prev != prev;
	scnprintf(what, size,
		  "%llu items, expected %llu; last stamp %llu, expected %llu; order %llu, links %llu wrong",
		  n, data->items, last, data->items + writes, unordered, unlinked);
	return pos == &data->list && n == data->items && last == data->items + writes &&
	       data->stamp == last && !unordered && !unlinked;
}

const struct workload workload_list = {
	.name = "list",
	.op = list_op,
	.arg = list_arg,
	.check = list_check,
};

static unsigned long mix_arg(struct thread *t, unsigned int i)
{
	return prandom_u32_state(&t->rnd) % 100 < t->read_share ? OP_READ : OP_WRITE;
}

static unsigned long mix_op(void *arg, unsigned long what)
{
	struct data *data = arg;
	u64 a = READ_ONCE(data->a);

	if (what == OP_WRITE) {
		WRITE_ONCE(data->a, a + 1);
		hold(data);
		WRITE_ONCE(data->b, READ_ONCE(data->b) + 1);
		return 0;
	}
	hold(data);
	return READ_ONCE(data->b) != a;
}

static bool mix_check(struct data *data, u64 reads, u64 writes, char *what, size_t size)
{
	scnprintf(what, size, "words %llu and %llu, expected %llu, after %llu reads", data->a,
		  data->b, writes, reads);
	return data->a == writes && data->b == writes;
}

const struct workload workload_mix = {
	.name = "read",
	.op = mix_op,
	.arg = mix_arg,
	.check = mix_check,
	.mixed = true,
};
