// SPDX-License-Identifier: GPL-2.0-only
/*
 * 24 cases of what shares a page, for faultprof to find out.  Two nodes, a kthread on a CPU of
 * each, take turns: who has the turn does one operation of each case and passes the turn on, so
 * that the pages that move, and how often, depend on the layout and on nothing else.  insmod
 * returns when all rounds are done; what they are about stays until the module goes.
 *
 * Each case has pages where no other has anything, and all of its names begin with its own: gcc
 * lays variables out in the reverse order of this file, with those that are static in functions
 * first, and the test sees that it did.  Each node's part of a case is a function of its own, as
 * what one function names belongs together.  What each case is, faultprof has to say by itself;
 * what it should say is in the test.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/topology.h>

static unsigned int rounds = 32;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "operations of each node in each case");

/* What fills its page, as long as it is */
struct planted_page {
	long n;
} __aligned(PAGE_SIZE);

/* Whose turn it is: a count, odd for the second node */
static struct planted_page turn = { 0 };
static int cpus[2];
static DECLARE_COMPLETION(ended);

/* What parts a case from the one before, whatever of it may be elsewhere */
#define BEGIN(name)	static char __used begin_##name[8] __aligned(PAGE_SIZE) = { 1 }

/* Two variables, a node each */
BEGIN(two_variables);
static long two_variables_a = 1;
static long two_variables_b = 1;

static void two_variables_0(unsigned int round)
{
	two_variables_a += round;
}

static void two_variables_1(unsigned int round)
{
	two_variables_b += round;
}

/* What is read all the time beside what is written all the time */
BEGIN(read_mostly);
static long __used read_mostly_limit = 1;
static long read_mostly_hits = 1;

static void read_mostly_0(unsigned int round)
{
	read_mostly_hits += round;
}

static void read_mostly_1(unsigned int round)
{
	(void)READ_ONCE(read_mostly_limit);
}

/* Two members of a structure, a node each */
BEGIN(members);
static struct {
	long name[4];
	long sent;
	long received;
	long errors;
} members = { .sent = 1 };

static void members_0(unsigned int round)
{
	members.sent += round;
}

static void members_1(unsigned int round)
{
	members.received += round;
}

/* Two objects of a slab cache, a node each */
struct slab_objects {
	long count;
	long name[9];
};

static struct kmem_cache *slab_objects_cache;
static struct slab_objects *slab_objects[2];

static void slab_objects_0(unsigned int round)
{
	slab_objects[0]->count += round;
}

static void slab_objects_1(unsigned int round)
{
	slab_objects[1]->count += round;
}

/* Two members of an object of a slab cache, a node each */
struct slab_members {
	long queued;
	long name[5];
	long done;
};

static struct kmem_cache *slab_members_cache;
static struct slab_members *slab_members;

static void slab_members_0(unsigned int round)
{
	slab_members->queued += round;
}

static void slab_members_1(unsigned int round)
{
	slab_members->done += round;
}

/* Two elements of an array, a node each */
struct planted_slot {
	long count;
	long limit;
};

BEGIN(array);
static struct planted_slot array[2] = { { 1 } };

static void array_0(unsigned int round)
{
	array[0].count += round;
}

static void array_1(unsigned int round)
{
	array[1].count += round;
}

/* What a CPU has for itself, and what others leave there */
static DEFINE_PER_CPU(long, percpu_mailbox);
static DEFINE_PER_CPU(long, percpu_count) __aligned(PAGE_SIZE);

static void percpu_0(unsigned int round)
{
	*per_cpu_ptr(&percpu_count, cpus[0]) += round;
}

static void percpu_1(unsigned int round)
{
	*per_cpu_ptr(&percpu_mailbox, cpus[0]) += round;
}

/* Two bit fields of one word, a node each */
BEGIN(bit_fields);
static struct {
	unsigned int low : 4;
	unsigned int high : 4;
} bit_fields = { 1, 1 };

static void bit_fields_0(unsigned int round)
{
	bit_fields.low += round;
}

static void bit_fields_1(unsigned int round)
{
	bit_fields.high += round;
}

/* A lock that a macro defines, of one node, beside a variable of the other */
BEGIN(by_macro);
static DEFINE_MUTEX(by_macro_lock);
static long by_macro_beside = 1;

static void by_macro_0(unsigned int round)
{
	mutex_lock(&by_macro_lock);
	mutex_unlock(&by_macro_lock);
}

static void by_macro_1(unsigned int round)
{
	by_macro_beside += round;
}

/* Two variables that are static in a function */
static void in_function_0(unsigned int round)
{
	static long in_function_a = 1;

	in_function_a += round;
}

static void in_function_1(unsigned int round)
{
	static long in_function_b = 1;

	in_function_b += round;
}

/* One that is aligned to a page, and one on the rest of that */
BEGIN(aligned_tail);
static long aligned_tail_b = 1;
static long aligned_tail_a __aligned(PAGE_SIZE) = 1;

static void aligned_tail_0(unsigned int round)
{
	aligned_tail_a += round;
}

static void aligned_tail_1(unsigned int round)
{
	aligned_tail_b += round;
}

/* Two that have pages of their own already */
static struct planted_page aligned_whole_a = { 1 };
static struct planted_page aligned_whole_b = { 1 };

static void aligned_whole_0(unsigned int round)
{
	aligned_whole_a.n += round;
}

static void aligned_whole_1(unsigned int round)
{
	aligned_whole_b.n += round;
}

/* A lock with its data, of both nodes */
BEGIN(lock_data);
static DEFINE_MUTEX(lock_data_lock);
static long lock_data_sum = 1;

static void lock_data_by_each(unsigned int round)
{
	mutex_lock(&lock_data_lock);
	lock_data_sum += round;
	mutex_unlock(&lock_data_lock);
}

/* One variable that both nodes write */
BEGIN(both_write);
static long both_write_count = 1;

static void both_write_by_each(unsigned int round)
{
	both_write_count += round;
}

/* One variable that one node writes and the other reads */
BEGIN(one_writes);
static long one_writes_value = 1;

static void one_writes_0(unsigned int round)
{
	one_writes_value += round;
}

static void one_writes_1(unsigned int round)
{
	(void)READ_ONCE(one_writes_value);
}

/* What both nodes write, and by every second turn of one what only that does */
BEGIN(mixed);
static long mixed_shared = 1;
static long mixed_own = 1;

static void mixed_0(unsigned int round)
{
	mixed_shared += round;
}

static void mixed_1(unsigned int round)
{
	if (round % 2)
		mixed_own += round;
	else
		mixed_shared += round;
}

/* Two names of one word */
BEGIN(one_union);
static union {
	long number;
	void *pointer;
} one_union = { 1 };

static void one_union_0(unsigned int round)
{
	one_union.number += round;
}

static void one_union_1(unsigned int round)
{
	one_union.pointer += round;
}

/* Two variables that begin as 0, which lie elsewhere than others */
static char __used begin_zeroed[8] __aligned(PAGE_SIZE);
static long zeroed_a;
static long zeroed_b;
static char __used end_zeroed[8] __aligned(PAGE_SIZE);

static void zeroed_0(unsigned int round)
{
	zeroed_a += round;
}

static void zeroed_1(unsigned int round)
{
	zeroed_b += round;
}

/* A pointer that is only read, in one structure with a count of references */
struct planted_operations {
	void *call;
};

BEGIN(references);
static struct {
	const struct planted_operations *operations;
	atomic_t count;
} references = { .count = ATOMIC_INIT(1) };

static void references_0(unsigned int round)
{
	atomic_inc(&references.count);
}

static void references_1(unsigned int round)
{
	(void)READ_ONCE(references.operations);
}

/* Two members that have a cache line each, a node each */
BEGIN(cache_lines);
static struct {
	long head;
	long tail ____cacheline_aligned;
} cache_lines = { 1, 1 };

static void cache_lines_0(unsigned int round)
{
	cache_lines.head += round;
}

static void cache_lines_1(unsigned int round)
{
	cache_lines.tail += round;
}

/* Bits of one word */
BEGIN(bitmap);
static unsigned long bitmap = 1;

static void bitmap_0(unsigned int round)
{
	change_bit(0, &bitmap);
}

static void bitmap_1(unsigned int round)
{
	change_bit(1, &bitmap);
}

/* An object of a slab cache, of both nodes */
struct slab_shared {
	atomic_t count;
	long name[7];
};

static struct kmem_cache *slab_shared_cache;
static struct slab_shared *slab_shared;

static void slab_shared_by_each(unsigned int round)
{
	atomic_inc(&slab_shared->count);
}

/* A lock with its data, of one node, beside a variable of the other */
BEGIN(pair);
static DEFINE_MUTEX(pair_lock);
static long pair_sum = 1;
static long pair_beside = 1;

static void pair_0(unsigned int round)
{
	mutex_lock(&pair_lock);
	pair_sum += round;
	mutex_unlock(&pair_lock);
}

static void pair_1(unsigned int round)
{
	pair_beside += round;
}

/* What both nodes only read */
BEGIN(read_only);
static long __used read_only_value = 1;

static void read_only_by_each(unsigned int round)
{
	(void)READ_ONCE(read_only_value);
}

BEGIN(in_function);

/* What each node does */
static void (*const cases[][2])(unsigned int round) = {
	{ two_variables_0, two_variables_1 },
	{ read_mostly_0, read_mostly_1 },
	{ members_0, members_1 },
	{ slab_objects_0, slab_objects_1 },
	{ slab_members_0, slab_members_1 },
	{ array_0, array_1 },
	{ percpu_0, percpu_1 },
	{ bit_fields_0, bit_fields_1 },
	{ by_macro_0, by_macro_1 },
	{ in_function_0, in_function_1 },
	{ aligned_tail_0, aligned_tail_1 },
	{ aligned_whole_0, aligned_whole_1 },
	{ lock_data_by_each, lock_data_by_each },
	{ both_write_by_each, both_write_by_each },
	{ one_writes_0, one_writes_1 },
	{ mixed_0, mixed_1 },
	{ one_union_0, one_union_1 },
	{ zeroed_0, zeroed_1 },
	{ references_0, references_1 },
	{ cache_lines_0, cache_lines_1 },
	{ bitmap_0, bitmap_1 },
	{ slab_shared_by_each, slab_shared_by_each },
	{ pair_0, pair_1 },
	{ read_only_by_each, read_only_by_each },
};

static int take_turns(void *arg)
{
	const int node = (long)arg;
	unsigned int i, round;

	for (round = 0; round < rounds; round++) {
		/* Pairs with the release of the other's turn. */
		while (smp_load_acquire(&turn.n) % 2 != node)
			usleep_range(100, 1000);
		for (i = 0; i < ARRAY_SIZE(cases); i++)
			cases[i][node](round);
		/* What was done comes before the other's turn. */
		smp_store_release(&turn.n, turn.n + 1);
	}
	if (node)
		complete(&ended);
	return 0;
}

static void free_objects(void)
{
	int i;

	for (i = 0; i < 2; i++)
		if (slab_objects[i])
			kmem_cache_free(slab_objects_cache, slab_objects[i]);
	if (slab_members)
		kmem_cache_free(slab_members_cache, slab_members);
	if (slab_shared)
		kmem_cache_free(slab_shared_cache, slab_shared);
	kmem_cache_destroy(slab_objects_cache);
	kmem_cache_destroy(slab_members_cache);
	kmem_cache_destroy(slab_shared_cache);
}

static int make_objects(void)
{
	int i;

	slab_objects_cache = kmem_cache_create("slab_objects", sizeof(struct slab_objects), 0, 0,
					       NULL);
	slab_members_cache = kmem_cache_create("slab_members", sizeof(struct slab_members), 0,
					       SLAB_HWCACHE_ALIGN, NULL);
	slab_shared_cache = kmem_cache_create("slab_shared", sizeof(struct slab_shared), 0, 0,
					      NULL);
	if (!slab_objects_cache || !slab_members_cache || !slab_shared_cache)
		return -ENOMEM;
	for (i = 0; i < 2; i++) {
		slab_objects[i] = kmem_cache_zalloc(slab_objects_cache, GFP_KERNEL);
		if (!slab_objects[i])
			return -ENOMEM;
	}
	slab_members = kmem_cache_zalloc(slab_members_cache, GFP_KERNEL);
	slab_shared = kmem_cache_zalloc(slab_shared_cache, GFP_KERNEL);
	return slab_members && slab_shared ? 0 : -ENOMEM;
}

/* A CPU of each of the first two nodes */
static int choose_cpus(void)
{
	int cpu;

	for_each_online_cpu(cpu) {
		if (cpu_to_node(cpu) == cpu_to_node(cpumask_first(cpu_online_mask)))
			continue;
		cpus[0] = cpumask_first(cpu_online_mask);
		cpus[1] = cpu;
		return 0;
	}
	pr_err("one node: expected CPUs on two\n");
	return -ENODEV;
}

static int __init planted_init(void)
{
	struct task_struct *threads[2];
	int err = choose_cpus(), i;

	if (err)
		return err;
	err = make_objects();
	for (i = 0; i < 2 && !err; i++) {
		threads[i] = kthread_create_on_node(take_turns, (void *)(long)i,
						    cpu_to_node(cpus[i]), "planted/%d", i);
		if (IS_ERR(threads[i])) {
			err = PTR_ERR(threads[i]);
			if (i)
				kthread_stop(threads[0]);
		}
	}
	if (err) {
		free_objects();
		return err;
	}
	for (i = 0; i < 2; i++) {
		get_task_struct(threads[i]);
		kthread_bind(threads[i], cpus[i]);
		wake_up_process(threads[i]);
	}
	wait_for_completion(&ended);
	/* Both have left the module's code when they are stopped. */
	for (i = 0; i < 2; i++) {
		kthread_stop(threads[i]);
		put_task_struct(threads[i]);
	}
	pr_info("%zu cases, %u rounds\n", ARRAY_SIZE(cases), rounds);
	return 0;
}

static void __exit planted_exit(void)
{
	free_objects();
}

module_init(planted_init);
module_exit(planted_exit);
MODULE_DESCRIPTION("Cases whose sharing is known, for faultprof's tests");
MODULE_LICENSE("GPL");
