// SPDX-License-Identifier: GPL-2.0-only
/*
 * ccsynch on real threads, for libtsan, as stress.c does it for pernode_rwsem.
 *
 * Rounds, each with two new locks: threads have operations run, some of which use the second
 * lock, take the locks plainly, try them, go to other nodes.  What the locks protect is plain
 * memory.  Exit status: 0; 1 or a signal when something was wrong (66: libtsan's report); 2 for a
 * wrong command line.
 */
#include <pthread.h>
#include <sched.h>

#include "lock.h"
#include "plat-pthread.h"
#include "sim.h"

#define OPS	400
#define NESTED	0x4000000000000000UL

/* What a lock protects: all the same, and the number of operations. */
struct shared {
	unsigned long value[8];
};

static struct shared shared[2];
static struct lock_user user[2];
static int nr_threads = 4;
static u64 seed = 1;
static int round_nr;
static atomic_t ops_run[2];

static unsigned long change(struct shared *s)
{
	unsigned long was = s->value[0];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(s->value); i++) {
		if (s->value[i] != was)
			plat_bug("two were in at once");
		s->value[i]++;
		if (i == 3 && was % 16 == 0)
			sched_yield();
	}
	return was;
}

static void use_second(void)
{
	unsigned long flags;

	local_irq_save(flags);
	lock_user_run(&user[1], 0);
	local_irq_restore(flags);
	atomic_inc(&ops_run[1]);
}

static unsigned long operation(void *state, unsigned long arg)
{
	if (arg & NESTED)
		use_second();
	return change(state) ^ arg;
}

static void one_op(u64 *rng, unsigned long *last)
{
	unsigned long arg = sim_rng(rng) >> 8, was;

	switch ((sim_rng(rng) >> 32) % 8) {
	case 0: case 1: case 2: case 3:
		arg = (sim_rng(rng) >> 32) % 4 ? arg & ~NESTED : arg | NESTED;
		was = lock_user_run(&user[0], arg) ^ arg;
		if (was + 1 <= *last)
			plat_bug("a request has another's result");
		*last = was + 1;
		break;
	case 4:
		use_second();
		return;
	case 5:
		user[0].ops->lock(user[0].lock);
		change(user[0].state);
		user[0].ops->unlock(user[0].lock);
		break;
	case 6:
		if (!user[0].ops->trylock(user[0].lock))
			return;
		change(user[0].state);
		user[0].ops->unlock(user[0].lock);
		break;
	default:
		plat_move((sim_rng(rng) >> 32) % nr_node_ids);
		return;
	}
	atomic_inc(&ops_run[0]);
}

static void *thread(void *arg)
{
	int me = (long)arg, i;
	u64 rng = sim_mix(seed * 1000003 + round_nr * 131 + me);
	unsigned long last = 0;

	plat_begin(me, me % nr_node_ids);
	if (!(round_nr % 3))
		user[0].ops->scarce(me % 3);
	for (i = 0; i < OPS; i++)
		one_op(&rng, &last);
	return NULL;
}

static long number(const char *what, const char *text, long least, long most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || end == text || n < least || n > most) {
		fprintf(stderr, "stress-spin: %s %s: expected a number from %ld to %ld\n", what,
			text, least, most);
		exit(2);
	}
	return n;
}

static void run_round(void)
{
	pthread_t threads[PLAT_THREADS];
	const char *wrong;
	long i;

	memset(shared, 0, sizeof(shared));
	lock_ccsynch.vary(round_nr % 37);
	for (i = 0; i < 2; i++) {
		atomic_set(&ops_run[i], 0);
		user[i] = (struct lock_user){
			&lock_ccsynch, aligned_alloc(PAGE_SIZE, PAGE_SIZE), operation, &shared[i],
		};
		lock_user_init(&user[i]);
	}
	for (i = 0; i < nr_threads; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)i))
			plat_bug("cannot create a thread");
	for (i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 2; i++) {
		wrong = lock_ccsynch.check(user[i].lock);
		if (wrong)
			plat_bug(wrong);
		if (shared[i].value[0] != (unsigned long)atomic_read(&ops_run[i]))
			plat_bug("an operation was lost, or run twice");
		lock_ccsynch.destroy(user[i].lock);
		free(user[i].lock);
	}
}

int main(int argc, char **argv)
{
	long seconds = 10;
	u64 until;

	if (argc > 4) {
		fprintf(stderr, "stress-spin: %s: expected [SECONDS [THREADS [SEED]]], no more\n",
			argv[4]);
		return 2;
	}
	if (argc > 1)
		seconds = number("SECONDS", argv[1], 1, 3600);
	if (argc > 2)
		nr_threads = number("THREADS", argv[2], 2, PLAT_THREADS);
	if (argc > 3)
		seed = number("SEED", argv[3], 0, 1L << 40);
	plat_init();
	plat_begin(PLAT_THREADS, 0);
	until = plat_clock() + seconds * 1000000000ULL;
	for (; !plat_passed(until); round_nr++)
		run_round();
	printf("stress-spin: %d rounds of %d threads and %d operations each, all clean\n",
	       round_nr, nr_threads, OPS);
	return 0;
}
