// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the compiler calls for each memory access of code built with -fsanitize=thread, for the
 * simulator: instead of libtsan.  An access outside the simulated memory costs nothing.
 *
 * Invariant: between sim_access() and the access nobody else runs, so all is atomic.
 */
#include "sim.h"

#define PLAIN(n)							\
void __tsan_read##n(void *addr);					\
void __tsan_write##n(void *addr);					\
void __tsan_unaligned_read##n(void *addr);				\
void __tsan_unaligned_write##n(void *addr);				\
void __tsan_volatile_read##n(void *addr);				\
void __tsan_volatile_write##n(void *addr);				\
void __tsan_read##n(void *addr) { access_plain(addr, false); }		\
void __tsan_write##n(void *addr) { access_plain(addr, true); }		\
void __tsan_unaligned_read##n(void *addr) { access_plain(addr, false); } \
void __tsan_unaligned_write##n(void *addr) { access_plain(addr, true); } \
void __tsan_volatile_read##n(void *addr) { access_plain(addr, false); }	\
void __tsan_volatile_write##n(void *addr) { access_plain(addr, true); }

static void access_plain(void *addr, bool write)
{
	if (sim_here(addr))
		sim_access(addr, write, true);
}

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_read_range(void *addr, size_t size);
void __tsan_write_range(void *addr, size_t size);

void __tsan_init(void) { }
void __tsan_func_entry(void *pc) { (void)pc; }
void __tsan_func_exit(void) { }

/* A struct that is copied: its first byte stands for it. */
void __tsan_read_range(void *addr, size_t size)
{
	(void)size;
	access_plain(addr, false);
}

void __tsan_write_range(void *addr, size_t size)
{
	(void)size;
	access_plain(addr, true);
}

static void before(const volatile void *addr, bool write)
{
	if (sim_here(addr))
		sim_access(addr, write, false);
}

static void after(const char *what, const volatile void *addr, u64 old, u64 new, bool write)
{
	if (!sim_here(addr))
		return;
	if (sim_trace)
		sim_trace(what, addr, old, new);
	if (write)
		sim_written(addr);
}

#define FETCH(n, T, name, expr)						\
T __tsan_atomic##n##_fetch_##name(volatile T *p, T v, int order);	\
T __tsan_atomic##n##_fetch_##name(volatile T *p, T v, int order)	\
{									\
	T old;								\
									\
	(void)order;							\
	before(p, true);						\
	old = *p;							\
	*p = expr;							\
	after(#name, p, old, *p, true);					\
	return old;							\
}

#define ATOMIC(n, T)							\
T __tsan_atomic##n##_load(const volatile T *p, int order);		\
void __tsan_atomic##n##_store(volatile T *p, T v, int order);		\
T __tsan_atomic##n##_exchange(volatile T *p, T v, int order);		\
int __tsan_atomic##n##_compare_exchange_strong(volatile T *p, T *o, T v, int s, int f);	\
int __tsan_atomic##n##_compare_exchange_weak(volatile T *p, T *o, T v, int s, int f);	\
T __tsan_atomic##n##_load(const volatile T *p, int order)		\
{									\
	(void)order;							\
	before(p, false);						\
	after("load", p, *p, *p, false);				\
	return *p;							\
}									\
void __tsan_atomic##n##_store(volatile T *p, T v, int order)		\
{									\
	T old;								\
									\
	(void)order;							\
	before(p, true);						\
	old = *p;							\
	*p = v;								\
	after("store", p, old, v, true);				\
}									\
T __tsan_atomic##n##_exchange(volatile T *p, T v, int order)		\
{									\
	T old;								\
									\
	(void)order;							\
	before(p, true);						\
	old = *p;							\
	*p = v;								\
	after("xchg", p, old, v, true);					\
	return old;							\
}									\
int __tsan_atomic##n##_compare_exchange_strong(volatile T *p, T *o, T v, int s, int f)	\
{									\
	T old;								\
	bool done;							\
									\
	(void)s;							\
	(void)f;							\
	before(p, true);						\
	old = *p;							\
	done = old == *o;						\
	if (done)							\
		*p = v;							\
	after(done ? "cmpxchg" : "cmpxchg, failed", p, old, *p, done);	\
	*o = old;							\
	return done;							\
}									\
int __tsan_atomic##n##_compare_exchange_weak(volatile T *p, T *o, T v, int s, int f)	\
{									\
	return __tsan_atomic##n##_compare_exchange_strong(p, o, v, s, f);	\
}									\
FETCH(n, T, add, old + v)						\
FETCH(n, T, sub, old - v)						\
FETCH(n, T, and, old & v)						\
FETCH(n, T, or, old | v)						\
FETCH(n, T, xor, old ^ v)

ATOMIC(8, unsigned char)
ATOMIC(16, unsigned short)
ATOMIC(32, unsigned int)
ATOMIC(64, unsigned long)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_atomic_thread_fence(int order) { (void)order; }
void __tsan_atomic_signal_fence(int order) { (void)order; }
