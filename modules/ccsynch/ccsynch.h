/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ccsynch: what one can do with it.  What it is: ccsynch_types.h.
 *
 * As with a spinlock: a lock that is used in interrupts is used with interrupts off everywhere,
 * so by the irqsave functions or where they are off anyway; a combiner then has them off, too.
 * The irqsave functions enable preemption last: an operation may have woken a task for this CPU,
 * of which no interrupt tells.
 */
#ifndef _LINUX_CCSYNCH_H
#define _LINUX_CCSYNCH_H

#include <linux/ccsynch_types.h>
#include <linux/irqflags.h>
#include <linux/preempt.h>

extern struct ccsynch_params ccsynch_params;

int ccsynch_setup(void);
void ccsynch_teardown(void);
int ccsynch_check_params(const struct ccsynch_params *params);

int __must_check __ccsynch_init(struct ccsynch *cs, ccsynch_op_t op, void *state,
				const struct ccsynch_params *params, const char *name,
				struct lock_class_key *key);

#define ccsynch_init_params(cs, op, state, params)			\
({									\
	static struct lock_class_key __key;				\
									\
	__ccsynch_init(cs, op, state, params, #cs, &__key);		\
})
#define ccsynch_init(cs, op, state)	ccsynch_init_params(cs, op, state, &ccsynch_params)

void ccsynch_destroy(struct ccsynch *cs);

unsigned long ccsynch_run(struct ccsynch *cs, unsigned long arg);
void ccsynch_lock(struct ccsynch *cs);
int __must_check ccsynch_trylock(struct ccsynch *cs);
void ccsynch_unlock(struct ccsynch *cs);
bool ccsynch_is_locked(struct ccsynch *cs);
void ccsynch_stats(struct ccsynch *cs, struct ccsynch_stats *stats);

/**
 * ccsynch_run_irqsave - have an operation run, with interrupts off
 * @cs: the lock
 * @arg: for the operation
 *
 * Context: any but NMI.
 * Return: what the operation returns.
 */
static inline unsigned long ccsynch_run_irqsave(struct ccsynch *cs, unsigned long arg)
{
	unsigned long flags, result;

	preempt_disable();
	local_irq_save(flags);
	result = ccsynch_run(cs, arg);
	local_irq_restore(flags);
	preempt_enable();
	return result;
}

#define ccsynch_lock_irqsave(cs, flags)					\
do {									\
	local_irq_save(flags);						\
	ccsynch_lock(cs);						\
} while (0)

static inline int __ccsynch_trylock_irqsave(struct ccsynch *cs, unsigned long *flags)
{
	local_irq_save(*flags);
	if (ccsynch_trylock(cs))
		return 1;
	local_irq_restore(*flags);
	return 0;
}

#define ccsynch_trylock_irqsave(cs, flags)	__ccsynch_trylock_irqsave(cs, &(flags))

/**
 * ccsynch_unlock_irqrestore - unlock, and put interrupts back as they were
 * @cs: the lock, held
 * @flags: of ccsynch_lock_irqsave() or ccsynch_trylock_irqsave()
 *
 * Context: any.
 */
static inline void ccsynch_unlock_irqrestore(struct ccsynch *cs, unsigned long flags)
{
	preempt_disable();
	ccsynch_unlock(cs);
	local_irq_restore(flags);
	preempt_enable();
}

#endif
