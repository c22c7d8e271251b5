/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel names that lock cores use, in user space: one shim for two back ends.
 *
 * Code above the shim is compiled once, with -fsanitize=thread.  That turns each of its memory
 * accesses, plain or atomic, into a call.  Linked with dsmsim (hooks.c, sim.c) the calls charge
 * the access's cost in a simulated machine, or choose who runs next; linked with libtsan and
 * plat-pthread.c the code runs on real threads and libtsan looks for races.
 *
 * Invariants:
 *  - Atomics are the compiler's builtins with the order that the kernel's name asks for.  The
 *    simulator is sequentially consistent; only the machine under libtsan is not.
 *  - What sleeps, wakes, spins, allocates or tells the time is out of line: the back end's.
 *  - A spinning loop calls spin_wait() or cpu_relax() each time round, else the simulator
 *    does not get on.
 */
#ifndef DSMSIM_SHIM_H
#define DSMSIM_SHIM_H

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t s32;
typedef unsigned long long u64;
typedef long long s64;
typedef unsigned int gfp_t;

#define PAGE_SHIFT		12
#define PAGE_SIZE		4096UL
#define PAGE_MASK		(~(PAGE_SIZE - 1))
#define SMP_CACHE_BYTES		64
#define MAX_NUMNODES		64
#define NUMA_NO_NODE		(-1)

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define __aligned(n)		__attribute__((aligned(n)))
#define __must_check		__attribute__((warn_unused_result))
#define __maybe_unused		__attribute__((unused))
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define __noreturn		__attribute__((noreturn))
#define noinline		__attribute__((noinline))
#ifndef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#endif
#define __percpu
#define __read_mostly
#define ____cacheline_aligned	__aligned(SMP_CACHE_BYTES)
#define ____cacheline_aligned_in_smp __aligned(SMP_CACHE_BYTES)
#define EXPORT_SYMBOL(sym)	struct __dsmsim_unused
#define EXPORT_SYMBOL_GPL(sym)	struct __dsmsim_unused
#define _RET_IP_		((unsigned long)__builtin_return_address(0))
#define barrier()		__asm__ __volatile__("" ::: "memory")

#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define WARN_ON_ONCE(cond)	({ bool __c = (cond); if (__c) plat_bug(#cond); __c; })
#define WARN_ON(cond)		WARN_ON_ONCE(cond)
#define BUG_ON(cond)		((void)WARN_ON_ONCE(cond))
#define VM_WARN_ON_ONCE(cond)	WARN_ON_ONCE(cond)

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define min(a, b)		({ __typeof__(a) __a = (a); __typeof__(b) __b = (b); \
				   __a < __b ? __a : __b; })
#define max(a, b)		({ __typeof__(a) __a = (a); __typeof__(b) __b = (b); \
				   __a > __b ? __a : __b; })
#define min_t(t, a, b)		min((t)(a), (t)(b))
#define max_t(t, a, b)		max((t)(a), (t)(b))
#define clamp(v, lo, hi)	min(max(v, lo), hi)
#define div_u64(a, b)		((u64)(a) / (u32)(b))
#define pr_err(...)		fprintf(stderr, __VA_ARGS__)
#define container_of(p, type, m) ((type *)((char *)(p) - offsetof(type, m)))
#define struct_size(p, m, n)	(sizeof(*(p)) + (n) * sizeof(*(p)->m))
#define struct_size_t(t, m, n)	struct_size((t *)NULL, m, n)

/* Plain accesses that are marked, and barriers. */

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define smp_mb()		__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()		__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()		__atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_mb__before_atomic()	smp_mb()
#define smp_mb__after_atomic()	smp_mb()
#define smp_acquire__after_ctrl_dep() smp_rmb()
#define data_race(x)		(x)

#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define xchg_acquire(p, v)	__atomic_exchange_n(p, v, __ATOMIC_ACQUIRE)
#define xchg_release(p, v)	__atomic_exchange_n(p, v, __ATOMIC_RELEASE)
#define __try_cmpxchg(p, o, n, order)					\
	__atomic_compare_exchange_n(p, o, n, false, order, __ATOMIC_RELAXED)
#define try_cmpxchg(p, o, n)	__try_cmpxchg(p, o, n, __ATOMIC_SEQ_CST)
#define try_cmpxchg_acquire(p, o, n) __try_cmpxchg(p, o, n, __ATOMIC_ACQUIRE)
#define try_cmpxchg_release(p, o, n) __try_cmpxchg(p, o, n, __ATOMIC_RELEASE)
#define __cmpxchg(p, o, n, order)					\
	({ __typeof__(*(p)) __o = (o); (void)__try_cmpxchg(p, &__o, n, order); __o; })
#define cmpxchg(p, o, n)	__cmpxchg(p, o, n, __ATOMIC_SEQ_CST)
#define cmpxchg_acquire(p, o, n) __cmpxchg(p, o, n, __ATOMIC_ACQUIRE)
#define cmpxchg_release(p, o, n) __cmpxchg(p, o, n, __ATOMIC_RELEASE)

/* atomic_t and atomic_long_t: every name of the family, by its four orders. */

typedef struct { int counter; } atomic_t;
typedef struct { long counter; } atomic_long_t;

#define ATOMIC_INIT(i)		{ (i) }
#define ATOMIC_LONG_INIT(i)	{ (i) }

#define SHIM_ORDERS(GEN, ...)						\
	GEN(, __ATOMIC_SEQ_CST, __VA_ARGS__)				\
	GEN(_acquire, __ATOMIC_ACQUIRE, __VA_ARGS__)			\
	GEN(_release, __ATOMIC_RELEASE, __VA_ARGS__)			\
	GEN(_relaxed, __ATOMIC_RELAXED, __VA_ARGS__)

#define SHIM_RMW(sfx, order, T, C, pfx, op)				\
static inline C pfx##_##op##_return##sfx(C i, T *v)			\
{ return __atomic_##op##_fetch(&v->counter, i, order); }		\
static inline C pfx##_fetch_##op##sfx(C i, T *v)			\
{ return __atomic_fetch_##op(&v->counter, i, order); }

#define SHIM_ONE(sfx, order, T, C, pfx)					\
static inline C pfx##_inc_return##sfx(T *v)				\
{ return __atomic_add_fetch(&v->counter, 1, order); }			\
static inline C pfx##_dec_return##sfx(T *v)				\
{ return __atomic_sub_fetch(&v->counter, 1, order); }			\
static inline C pfx##_fetch_inc##sfx(T *v)				\
{ return __atomic_fetch_add(&v->counter, 1, order); }			\
static inline C pfx##_fetch_dec##sfx(T *v)				\
{ return __atomic_fetch_sub(&v->counter, 1, order); }			\
static inline C pfx##_fetch_andnot##sfx(C i, T *v)			\
{ return __atomic_fetch_and(&v->counter, ~i, order); }			\
static inline C pfx##_xchg##sfx(T *v, C n)				\
{ return __atomic_exchange_n(&v->counter, n, order); }			\
static inline C pfx##_cmpxchg##sfx(T *v, C o, C n)			\
{ return __cmpxchg(&v->counter, o, n, order); }				\
static inline bool pfx##_try_cmpxchg##sfx(T *v, C *o, C n)		\
{ return __try_cmpxchg(&v->counter, o, n, order); }

#define SHIM_ATOMIC(T, C, pfx)						\
static inline C pfx##_read(const T *v)					\
{ return __atomic_load_n(&v->counter, __ATOMIC_RELAXED); }		\
static inline C pfx##_read_acquire(const T *v)				\
{ return __atomic_load_n(&v->counter, __ATOMIC_ACQUIRE); }		\
static inline void pfx##_set(T *v, C i)					\
{ __atomic_store_n(&v->counter, i, __ATOMIC_RELAXED); }			\
static inline void pfx##_set_release(T *v, C i)				\
{ __atomic_store_n(&v->counter, i, __ATOMIC_RELEASE); }			\
SHIM_ORDERS(SHIM_RMW, T, C, pfx, add)					\
SHIM_ORDERS(SHIM_RMW, T, C, pfx, sub)					\
SHIM_ORDERS(SHIM_RMW, T, C, pfx, and)					\
SHIM_ORDERS(SHIM_RMW, T, C, pfx, or)					\
SHIM_ORDERS(SHIM_RMW, T, C, pfx, xor)					\
SHIM_ORDERS(SHIM_ONE, T, C, pfx)					\
static inline void pfx##_add(C i, T *v) { pfx##_fetch_add_relaxed(i, v); } \
static inline void pfx##_sub(C i, T *v) { pfx##_fetch_sub_relaxed(i, v); } \
static inline void pfx##_and(C i, T *v) { pfx##_fetch_and_relaxed(i, v); } \
static inline void pfx##_or(C i, T *v) { pfx##_fetch_or_relaxed(i, v); }   \
static inline void pfx##_andnot(C i, T *v) { pfx##_fetch_andnot_relaxed(i, v); } \
static inline void pfx##_inc(T *v) { pfx##_fetch_add_relaxed(1, v); }	\
static inline void pfx##_dec(T *v) { pfx##_fetch_sub_relaxed(1, v); }	\
static inline bool pfx##_dec_and_test(T *v) { return !pfx##_dec_return(v); } \
static inline bool pfx##_sub_and_test(C i, T *v) { return !pfx##_sub_return(i, v); }

SHIM_ATOMIC(atomic_t, int, atomic)
SHIM_ATOMIC(atomic_long_t, long, atomic_long)

/* Lists. */

struct list_head {
	struct list_head *next, *prev;
};

/* Where the kernel marks a write, as list_empty() may be asked without the lock. */
static inline void INIT_LIST_HEAD(struct list_head *head)
{
	WRITE_ONCE(head->next, head);
	head->prev = head;
}

static inline void list_add_tail(struct list_head *item, struct list_head *head)
{
	struct list_head *prev = head->prev;

	head->prev = item;
	item->next = head;
	item->prev = prev;
	WRITE_ONCE(prev->next, item);
}

static inline void list_del(struct list_head *item)
{
	item->next->prev = item->prev;
	WRITE_ONCE(item->prev->next, item->next);
}

/* Also asked without the list's lock, hence marked. */
static inline bool list_empty(const struct list_head *head)
{
	return READ_ONCE(head->next) == head;
}

static inline bool list_is_singular(const struct list_head *head)
{
	return head->next != head && head->next == head->prev;
}

#define list_entry(p, type, m)	container_of(p, type, m)
#define list_first_entry(h, type, m) list_entry((h)->next, type, m)
#define LIST_HEAD(name)		struct list_head name = { &(name), &(name) }
#define list_next(pos, m)	list_entry((pos)->m.next, __typeof__(*(pos)), m)
#define list_for_each_entry(pos, head, m)				\
	for (pos = list_entry((head)->next, __typeof__(*pos), m);	\
	     &pos->m != (head); pos = list_next(pos, m))
#define list_for_each_entry_safe(pos, n, head, m)			\
	for (pos = list_entry((head)->next, __typeof__(*pos), m), n = list_next(pos, m); \
	     &pos->m != (head); pos = n, n = list_next(n, m))

static inline void list_move(struct list_head *item, struct list_head *head)
{
	list_del(item);
	list_add_tail(item, head->next);
}

static inline void list_splice_init(struct list_head *from, struct list_head *head)
{
	if (list_empty(from))
		return;
	from->prev->next = head->next;
	head->next->prev = from->prev;
	head->next = from->next;
	from->next->prev = head;
	INIT_LIST_HEAD(from);
}

/* Nodes.  All of nr_node_ids are online. */

typedef struct { unsigned long bits; } nodemask_t;

extern unsigned int nr_node_ids;

#define NODE_MASK_NONE		((nodemask_t) { 0 })
#define node_set(n, m)		\
	((void)__atomic_fetch_or(&(m).bits, 1UL << (n), __ATOMIC_RELAXED))
#define node_clear(n, m)	\
	((void)__atomic_fetch_and(&(m).bits, ~(1UL << (n)), __ATOMIC_RELAXED))
#define node_isset(n, m)	(!!(READ_ONCE((m).bits) & (1UL << (n))))
#define node_test_and_set(n, m)	\
	(!!(__atomic_fetch_or(&(m).bits, 1UL << (n), __ATOMIC_SEQ_CST) & (1UL << (n))))
#define nodes_clear(m)		WRITE_ONCE((m).bits, 0)
#define nodes_or(d, a, b)	WRITE_ONCE((d).bits, READ_ONCE((a).bits) | READ_ONCE((b).bits))
#define nodes_empty(m)		(!READ_ONCE((m).bits))
#define nodes_weight(m)		__builtin_popcountl(READ_ONCE((m).bits))

static inline int shim_next_node(const nodemask_t *mask, int from)
{
	unsigned long rest = from < MAX_NUMNODES ? READ_ONCE(mask->bits) >> from : 0;

	return rest ? from + __builtin_ctzl(rest) : MAX_NUMNODES;
}

#define first_node(m)		shim_next_node(&(m), 0)
#define for_each_node_mask(n, m)					\
	for ((n) = shim_next_node(&(m), 0); (n) < MAX_NUMNODES;		\
	     (n) = shim_next_node(&(m), (n) + 1))
#define for_each_online_node(n)	for ((n) = 0; (n) < (int)nr_node_ids; (n)++)
#define for_each_node(n)	for_each_online_node(n)
#define first_online_node	0
#define num_online_nodes()	nr_node_ids
#define node_online(n)		((n) >= 0 && (n) < (int)nr_node_ids)

int numa_node_id(void);

/* Tasks. */

#define TASK_RUNNING		0x0
#define TASK_INTERRUPTIBLE	0x1
#define TASK_UNINTERRUPTIBLE	0x2
#define TASK_WAKEKILL		0x100
#define TASK_KILLABLE		(TASK_WAKEKILL | TASK_UNINTERRUPTIBLE)
#define TASK_NORMAL		(TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE)

struct mcs_node {
	struct mcs_node *next;
	int granted;
};

#define MCS_NESTING		4

/* What of a task others see; what the back end keeps of it is its own. */
struct task_struct {
	int __state;
	int on_cpu;
	int sigpending;
	int id;
	int node;		/* written by the task alone */
	int cpu;
	int irqs_off;		/* the task's own, like the next two */
	int rcu_nesting;
	int mcs_depth;
	unsigned long crit_seq;	/* 0, or the grace period at which it began not to be quiet */
	struct mcs_node mcs[MCS_NESTING] ____cacheline_aligned;
	struct mcs_node osq ____cacheline_aligned;
};

struct task_struct *get_current(void);
#define current			get_current()

void schedule(void);
int wake_up_state(struct task_struct *task, int state);
#define wake_up_process(t)	wake_up_state(t, TASK_NORMAL)
#define set_current_state(s)	__atomic_store_n(&current->__state, s, __ATOMIC_SEQ_CST)
#define __set_current_state(s)	__atomic_store_n(&current->__state, s, __ATOMIC_RELAXED)
#define signal_pending_state(s, t) (((s) & TASK_WAKEKILL) && READ_ONCE((t)->sigpending))
#define fatal_signal_pending(t)	READ_ONCE((t)->sigpending)
#define get_task_struct(t)	((void)(t))
#define put_task_struct(t)	((void)(t))
#define preempt_disable()	barrier()
#define preempt_enable()	barrier()

void local_irq_disable(void);
void local_irq_enable(void);
bool irqs_disabled(void);
#define local_irq_save(f)	((f) = irqs_disabled(), local_irq_disable())
#define local_irq_restore(f)	((f) ? (void)0 : local_irq_enable())
#define in_nmi()		0

/* Asked by what may sleep or wake: the back end calls it a bug with interrupts off. */
void plat_may_sleep(const char *what);
#define might_sleep()		plat_may_sleep(__func__)
__noreturn void plat_bug(const char *what);

/* The machine's clock, ns; and whether it has passed: schedule exploration has no clock. */
u64 plat_clock(void);
bool plat_passed(u64 ns);

void cpu_relax(void);
/* In exploration now and then; else each thread has a CPU to itself. */
bool need_resched(void);
void plat_spin_wait(const void *word, unsigned long value, size_t size);
/* Returns when *word may have become other than value; looping is the caller's. */
#define spin_wait(word, value)	plat_spin_wait(word, (unsigned long)(value), sizeof(*(word)))

/* As the kernel's: VAL is what was read. */
#define smp_cond_load_acquire(p, cond)					\
({									\
	__typeof__(*(p)) VAL;						\
									\
	while (VAL = smp_load_acquire(p), !(cond))			\
		spin_wait(p, VAL);					\
	VAL;								\
})

/* A clock for who waits: in exploration each look at it finds it later, by chance by much. */
u64 local_clock(void);

/* RCU: a task is quiet while its interrupts are on and it is in no read-side section. */

void rcu_read_lock(void);
void rcu_read_unlock(void);
void synchronize_rcu(void);
unsigned long start_poll_synchronize_rcu_expedited(void);
unsigned long get_state_synchronize_rcu(void);
bool poll_state_synchronize_rcu(unsigned long seq);
#define rcu_assign_pointer(p, v) smp_store_release(&(p), v)
#define rcu_dereference(p)	READ_ONCE(p)

/* Memory. */

#define GFP_KERNEL		0x1
#define GFP_ATOMIC		0x2
#define GFP_NOWAIT		0x4
#define __GFP_ZERO		0x100
#define __GFP_NOWARN		0x200
#define __GFP_THISNODE		0x400
#define GFP_KERNEL_ACCOUNT	GFP_KERNEL

struct page;

static inline int get_order(unsigned long size)
{
	int order = 0;

	while ((PAGE_SIZE << order) < size)
		order++;
	return order;
}

unsigned long __get_free_pages(gfp_t gfp, int order);
#define __get_free_page(gfp)	__get_free_pages(gfp, 0)
struct page *alloc_pages_node(int node, gfp_t gfp, int order);
void free_pages(unsigned long addr, int order);
#define free_page(addr)		free_pages(addr, 0)
#define page_address(page)	((void *)(page))
#define __free_pages(page, order) free_pages((unsigned long)(page), order)

/*
 * Per-CPU memory, for one user: each thread has a page, on its node, when it first asks.  That
 * is as if it were on a CPU of its own.
 */
#define __alloc_percpu(size, align)					\
	((void *)((size) <= PAGE_SIZE && (align) <= PAGE_SIZE ? PAGE_SIZE : 0))
#define free_percpu(p)		((void)(p))
void *plat_this_cpu(void);
#define this_cpu_ptr(p)		((void)(p), (__typeof__(p))plat_this_cpu())

/* lockdep: nothing but the assertions, which the gate can answer. */

struct lock_class_key { char unused; };
struct lockdep_map { char unused; };

#define lock_downgrade(map, ip)		((void)(map), (void)(ip))
#define rwsem_acquire(map, sub, try, ip)	((void)(map), (void)(ip))
#define rwsem_acquire_read(map, sub, try, ip)	((void)(map), (void)(ip))
#define rwsem_release(map, ip)			((void)(map), (void)(ip))
#define spin_acquire(map, sub, try, ip)		((void)(ip))
#define spin_release(map, ip)			((void)(ip))
#define lock_contended(map, ip)			((void)(ip))
#define lock_acquired(map, ip)			((void)(ip))
#define lockdep_init_map_wait(map, name, key, sub, type) ((void)(name), (void)(key))
#define trace_contention_begin(lock, flags)	((void)(lock))
#define trace_contention_end(lock, err)		((void)(lock))
#define lockdep_assert_held_write(sem)		WARN_ON_ONCE(!rwsem_is_write_locked(sem))
#define lockdep_assert_held(sem)		WARN_ON_ONCE(!rwsem_is_locked(sem))

/*
 * A spinlock: MCS, so that who waits spins on its own task's page, as qspinlock's waiters do.
 * An uncontended one costs one atomic operation to lock and one to unlock.
 */

typedef struct { struct mcs_node *tail; } raw_spinlock_t;
typedef raw_spinlock_t spinlock_t;

void raw_spin_lock_init(raw_spinlock_t *lock);
void raw_spin_lock(raw_spinlock_t *lock);
void raw_spin_unlock(raw_spinlock_t *lock);
#define raw_spin_lock_irqsave(l, f)	((void)(f), raw_spin_lock(l))
#define raw_spin_unlock_irqrestore(l, f) ((void)(f), raw_spin_unlock(l))
#define raw_spin_lock_irq(l)		raw_spin_lock(l)
#define raw_spin_unlock_irq(l)		raw_spin_unlock(l)
#define spin_lock_init(l)		raw_spin_lock_init(l)
#define spin_lock(l)			raw_spin_lock(l)
#define spin_unlock(l)			raw_spin_unlock(l)

/* rwsem: gate.c models it. */

struct rw_semaphore {
	atomic_long_t count;
	atomic_long_t owner;
	struct mcs_node *osq;
	raw_spinlock_t wait_lock;
	struct list_head wait_list;
	struct lockdep_map dep_map;
};

/* Spinning writers queue up in the model, too. */
#define CONFIG_RWSEM_SPIN_ON_OWNER 1
#define osq_is_locked(osq)	(!!READ_ONCE(*(osq)))

void __init_rwsem(struct rw_semaphore *sem, const char *name, struct lock_class_key *key);
#define init_rwsem(sem)		__init_rwsem(sem, #sem, NULL)
void down_read(struct rw_semaphore *sem);
int __must_check down_read_killable(struct rw_semaphore *sem);
int __must_check down_read_trylock(struct rw_semaphore *sem);
void up_read(struct rw_semaphore *sem);
void down_write(struct rw_semaphore *sem);
int __must_check down_write_killable(struct rw_semaphore *sem);
int __must_check down_write_trylock(struct rw_semaphore *sem);
void up_write(struct rw_semaphore *sem);
void downgrade_write(struct rw_semaphore *sem);
bool rwsem_is_locked(struct rw_semaphore *sem);
bool rwsem_is_write_locked(struct rw_semaphore *sem);
bool rwsem_is_contended(struct rw_semaphore *sem);
#define down_write_nested(sem, sub) ((void)(sub), down_write(sem))
#define down_read_nested(sem, sub) ((void)(sub), down_read(sem))
#define down_read_non_owner(sem) down_read(sem)
#define up_read_non_owner(sem)	up_read(sem)

/* A task that waits for an event, alone. */

struct rcuwait {
	struct task_struct *task;
};

static inline void rcuwait_init(struct rcuwait *w)
{
	w->task = NULL;
}

static inline int rcuwait_wake_up(struct rcuwait *w)
{
	struct task_struct *task;
	int woken = 0;

	rcu_read_lock();
	smp_mb();	/* the event, then the look at who waits */
	task = smp_load_acquire(&w->task);
	if (task)
		woken = wake_up_process(task);
	rcu_read_unlock();
	return woken;
}

#define rcuwait_active(w)	(!!READ_ONCE((w)->task))

#define rcuwait_wait_event(w, condition, state)				\
({									\
	struct task_struct *__me = current;				\
	int __err = 0;							\
									\
	plat_may_sleep(__func__);					\
	smp_store_release(&(w)->task, __me);				\
	for (;;) {							\
		set_current_state(state);				\
		if (condition)						\
			break;						\
		if (signal_pending_state(state, __me)) {		\
			__err = -EINTR;					\
			break;						\
		}							\
		schedule();						\
	}								\
	smp_store_release(&(w)->task, (struct task_struct *)NULL);	\
	__set_current_state(TASK_RUNNING);				\
	__err;								\
})

#endif
