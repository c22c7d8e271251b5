/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TAP for the test programs: one line a test, "ok N - name" or "not ok N - name", the plan last.
 * What a failed test saw is said in "# " lines right after it.  Only one thread of a program
 * reports, after it has collected what the others found.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define __printf(a, b)	__attribute((format(printf, a, b)))
#define __noreturn	__attribute((noreturn))

typedef unsigned long long u64;

static struct {
	unsigned int n;
	unsigned int failed;
} tap;

/* A line of explanation. */
__printf(1, 2)
static inline void tap_diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

/* One test; returns @good so that the caller can add what it saw. */
__printf(2, 3)
static inline bool tap_ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%s %u - ", good ? "ok" : "not ok", ++tap.n);
	tap.failed += !good;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	return good;
}

/* A test that cannot run here, and why. */
static inline void tap_skip(const char *name, const char *why)
{
	printf("ok %u - %s # SKIP %s\n", ++tap.n, name, why);
	fflush(stdout);
}

/* The plan; returns the program's exit status.  A program that tested nothing has failed. */
static inline int tap_done(void)
{
	printf("1..%u\n", tap.n);
	fflush(stdout);
	return tap.failed || !tap.n;
}

/* The program cannot go on: say why and fail. */
__printf(1, 2) __noreturn
static inline void tap_bail(const char *fmt, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

static inline u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* One step of splitmix64: a good mix of any value, and a generator if fed with a counter. */
static inline u64 mix64(u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline u64 next_random(u64 *seed)
{
	return mix64((*seed)++);
}

#endif
