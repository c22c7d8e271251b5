// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the stress tests on real threads share: rounds of a struct stress until the time is up.
 *
 * What a round's threads do follows from the seed, the round's number and theirs; when they do
 * it does not.  Exit status: 0; 1 or a signal when something was wrong (66: libtsan's report);
 * 2 for a wrong command line.
 */
#include <pthread.h>

#include "plat-pthread.h"
#include "sim.h"
#include "stress.h"

int stress_threads = 4, stress_round;

static u64 seed = 1;

static void *thread(void *arg)
{
	int me = (long)arg;
	u64 rng = sim_mix(seed * 1000003 + stress_round * 131 + me);

	plat_begin(me, me % nr_node_ids);
	stress.thread(me, &rng);
	return NULL;
}

static void run_round(void)
{
	pthread_t threads[PLAT_THREADS];
	long i;

	stress.begin();
	for (i = 0; i < stress_threads; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)i))
			plat_bug("cannot create a thread");
	for (i = 0; i < stress_threads; i++)
		pthread_join(threads[i], NULL);
	stress.end();
}

static long number(const char *what, const char *text, long least, long most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || end == text || n < least || n > most) {
		fprintf(stderr, "%s: %s %s: expected a number from %ld to %ld\n", stress.name,
			what, text, least, most);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	long seconds = 10;
	u64 until;

	if (argc > 4) {
		fprintf(stderr, "%s: %s: expected [SECONDS [THREADS [SEED]]], no more\n",
			stress.name, argv[4]);
		return 2;
	}
	if (argc > 1)
		seconds = number("SECONDS", argv[1], 1, 3600);
	if (argc > 2)
		stress_threads = number("THREADS", argv[2], 2, PLAT_THREADS);
	if (argc > 3)
		seed = number("SEED", argv[3], 0, 1L << 40);
	plat_init();
	plat_begin(PLAT_THREADS, 0);
	until = plat_clock() + seconds * 1000000000ULL;
	for (; !plat_passed(until); stress_round++)
		run_round();
	printf("%s: %d rounds of %d threads and %d operations each, all clean\n", stress.name,
	       stress_round, stress_threads, STRESS_OPS);
	return 0;
}
