// SPDX-License-Identifier: GPL-2.0-only
/*
 * The span's faults as events faultprof:dsm_fault: while that event has a listener, a thread of
 * each node looks into the fault ring of its host every few milliseconds.
 *
 * A node's ring is read by that node's CPUs only: the same address is another ring elsewhere.
 * Each reader has pages of its node for itself, so that reading moves no page.  What the profiler
 * does is not what it is to show: a fault in this module's code, or of a CPU while a reader ran on
 * it, is marked as its own.  A ring that is not what fault_ring.h says is not read any further.
 */
#include <linux/bitops.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/topology.h>
#include <asm/processor.h>
#include <asm/smp.h>
#include <asm/tsc.h>

#include "ring.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define SIGNATURE	"NUMASPAN\0\0\0\0"
#define AT_ONCE		4096	/* records, at most */
#define NR_RUNS		16	/* faults may come that long after a run that caused them */

static unsigned int interval_ms = 20;
module_param(interval_ms, uint, 0444);
MODULE_PARM_DESC(interval_ms, "milliseconds between two looks into the fault ring, 1 to 1000");

/* Where a reader has run, by the TSC */
struct run {
	u64 from, to;
	u32 apic_id;
};

struct reader {
	struct task_struct *task;
	int node;
	bool begun, refused;
	u32 span_node;
	u64 next;	/* the record to read */
	u64 from, seq;	/* the first fault, and the one that record should be of */
	u64 read, lost, own;
	u32 nr_runs;
	struct run runs[NR_RUNS];
	struct fault_ring_record rec;
};

static DEFINE_MUTEX(lock);	/* of all that follows */
static const struct fault_ring *ring;
static u64 ring_bytes;
static struct reader *readers[MAX_NUMNODES];

static bool is_own(const struct reader *r, const struct fault_ring_record *rec)
{
	int i;

	if (!(rec->flags & FAULT_RING_GUEST))
		return false;
	if (within_module(rec->ip, THIS_MODULE))
		return true;
	for (i = 0; i < NR_RUNS; i++)
		if (r->runs[i].apic_id == rec->vcpu && rec->tsc - r->runs[i].from <=
		    r->runs[i].to - r->runs[i].from)
			return true;
	return false;
}

/* A record that is not there any more is lost. */
static bool copy_record(struct reader *r, u32 nr)
{
	const struct fault_ring_record *slots = (const void *)ring + FAULT_RING_START;

	memcpy(&r->rec, &slots[r->next % nr], sizeof(r->rec));
	smp_rmb();	/* the copy before the look whether it was too late */
	return READ_ONCE(ring->head) - r->next < nr;
}

static u64 time_of(u64 tsc, u64 now_tsc, u64 now_ns)
{
	s64 age = clamp_t(s64, now_tsc - tsc, -(1LL << 40), 1LL << 40);

	return now_ns - div_s64(age * USEC_PER_MSEC * MSEC_PER_SEC, tsc_khz);
}

static void refuse(struct reader *r, const struct fault_ring_wrong *w)
{
	r->refused = true;
	pr_notice("faultprof: fault ring of node %d: %s %llu: expected %llu to %llu; it is not read\n",
		  r->node, w->what, w->value, w->least, w->most);
}

static bool look_at_head(struct reader *r, u64 *head)
{
	struct fault_ring copy = *ring;
	struct fault_ring_wrong w;

	smp_rmb();	/* who begins with more lost than there were would see numbers go back */
	*head = smp_load_acquire(&ring->head);
	if (!fault_ring_check(&copy, ring_bytes, &w) ||
	    !fault_ring_expect(&w, "head", *head, r->next, U64_MAX / 2)) {
		refuse(r, &w);
		return false;
	}
	if (!r->begun) {
		r->begun = true;
		r->span_node = copy.node;
		r->next = *head;
		r->from = *head + copy.lost;
		r->seq = r->from;
	}
	return true;
}

/* Return: whether it has to go on, as more had come than it may read at once. */
static bool read_records(struct reader *r, u64 head)
{
	const u64 now_ns = local_clock(), now_tsc = rdtsc_ordered();
	const u32 nr = (ring_bytes - FAULT_RING_START) / sizeof(r->rec);
	struct fault_ring_wrong w;
	bool own;
	u64 end;

	/* Who took what is overwritten one by one would never catch up. */
	if (head - r->next >= nr)
		r->next = head - nr + 1;
	end = min(head, r->next + AT_ONCE);
	for (; r->next < end; r->next++) {
		if (!copy_record(r, nr))
			continue;
		if (!fault_ring_check_record(&r->rec, r->next, &w) ||
		    !fault_ring_expect(&w, "number of a record", r->rec.seq, r->seq, U64_MAX / 2)) {
			refuse(r, &w);
			return false;
		}
		own = is_own(r, &r->rec);
		r->lost += r->rec.seq - r->seq;
		r->seq = r->rec.seq + 1;
		r->read++;
		r->own += own;
		trace_dsm_fault(r->span_node, &r->rec, time_of(r->rec.tsc, now_tsc, now_ns), own);
	}
	return end < head;
}

/* Return: whether to look again at once. */
static bool look(struct reader *r)
{
	struct run *run = &r->runs[r->nr_runs++ % NR_RUNS];
	bool more = false;
	u64 head;

	/* The event is switched on after its readers have been started. */
	if (r->refused || (!r->begun && !trace_dsm_fault_enabled()))
		return false;
	migrate_disable();
	/* It is elsewhere only if all CPUs of the node have gone. */
	if (cpu_to_node(raw_smp_processor_id()) == r->node) {
		*run = (struct run){ .from = rdtsc_ordered(), .to = U64_MAX,
				     .apic_id = cpu_physical_id(raw_smp_processor_id()) };
		more = look_at_head(r, &head) && read_records(r, head);
		run->to = rdtsc_ordered();
	}
	migrate_enable();
	return more;
}

/* As much as a full ring has, at most: faults may come for as long as this reads. */
static void read_all(struct reader *r)
{
	u64 looks;

	for (looks = ring_bytes / sizeof(r->rec) / AT_ONCE + 1; looks && look(r); looks--)
		cond_resched();
}

static int reader_main(void *arg)
{
	struct reader *r = arg;
	bool begins;

	while (!kthread_should_stop()) {
		read_all(r);
		set_current_state(TASK_IDLE);
		begins = !r->begun && !r->refused;
		if (!kthread_should_stop())
			schedule_timeout(begins ? 1 : msecs_to_jiffies(interval_ms));
		__set_current_state(TASK_RUNNING);
	}
	read_all(r);
	return 0;
}

static void stop_readers(void)
{
	int node;

	for_each_node(node) {
		if (!readers[node] || !readers[node]->task)
			continue;
		kthread_stop(readers[node]->task);
		readers[node]->task = NULL;
	}
}

static int start_reader(int node)
{
	struct task_struct *task;
	struct page *page;
	int err;

	if (!readers[node]) {
		page = alloc_pages_node(node, GFP_KERNEL, get_order(sizeof(struct reader)));
		if (!page)
			return -ENOMEM;
		readers[node] = page_address(page);
	}
	/* Until the ring says which of the span's nodes this is, the guest's number is as good. */
	*readers[node] = (struct reader){ .node = node, .span_node = node };
	task = kthread_create_on_node(reader_main, readers[node], node, "faultprof/%d", node);
	if (IS_ERR(task))
		return PTR_ERR(task);
	err = set_cpus_allowed_ptr(task, cpumask_of_node(node));
	if (err) {
		kthread_stop(task);
		return err;
	}
	readers[node]->task = task;
	wake_up_process(task);
	return 0;
}

/**
 * faultprof_ring_start() - the event has a listener: a reader for each node begins, at what comes
 *
 * Context: may sleep.
 * Return: 0 or an errno; -ENODEV if there is no ring.
 */
int faultprof_ring_start(void)
{
	int err, node;

	mutex_lock(&lock);
	err = ring ? 0 : -ENODEV;
	for_each_node_state(node, N_CPU)
		if (!err)
			err = start_reader(node);
	if (err)
		stop_readers();
	mutex_unlock(&lock);
	return err;
}

/**
 * faultprof_ring_stop() - the event has no listener any more
 *
 * Context: may sleep.
 */
void faultprof_ring_stop(void)
{
	mutex_lock(&lock);
	stop_readers();
	mutex_unlock(&lock);
}

/* Of the recording that goes on, then a little of one line may be older; or of the last one */
static int ring_show(struct seq_file *m, void *v)
{
	int node;

	mutex_lock(&lock);
	for_each_node(node) {
		const struct reader *r = readers[node];

		if (r)
			seq_printf(m, "node %u from %llu to %llu read %llu lost %llu own %llu%s\n",
				   r->span_node, r->from, r->seq, r->read, r->lost, r->own,
				   r->refused ? " refused" : "");
	}
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ring);

/* Where spanvm says that the ring is */
static int __init find_ring(void)
{
	u32 base = 0, features, low, high, bytes, version, unused;
	struct fault_ring_wrong w;

	if (boot_cpu_has(X86_FEATURE_HYPERVISOR))
		base = hypervisor_cpuid_base(SIGNATURE, 2);
	if (base)
		cpuid(base + 1, &features, &unused, &unused, &unused);
	if (!base || !(features & NUMASPAN_FEATURE_FAULT_RING)) {
		pr_info("faultprof: no fault ring: spanvm has no fault_ring; no dsm_fault is seen\n");
		return 0;
	}
	cpuid(base + 2, &low, &high, &bytes, &version);
	if (!fault_ring_expect(&w, "version", version, FAULT_RING_VERSION, FAULT_RING_VERSION) ||
	    !fault_ring_expect(&w, "size", bytes, 2 * FAULT_RING_START, FAULT_RING_MAX_BYTES)) {
		pr_notice("faultprof: fault ring: %s %llu: expected %llu to %llu; no dsm_fault is seen\n",
			  w.what, w.value, w.least, w.most);
		return 0;
	}
	ring_bytes = bytes;
	ring = memremap((u64)high << 32 | low, bytes, MEMREMAP_WB);
	return ring ? 0 : -ENOMEM;
}

/**
 * faultprof_ring_init() - find the fault ring, if there is one
 * @dir:	in debugfs; a file "ring" there says how much has been read
 *
 * Context: module initialisation.
 * Return: 0, also without a ring, or an errno.
 */
int __init faultprof_ring_init(struct dentry *dir)
{
	int err;

	if (interval_ms < 1 || interval_ms > 1000) {
		pr_notice("faultprof: interval_ms %u: expected 1 to 1000\n", interval_ms);
		return -EINVAL;
	}
	err = find_ring();
	if (!err && ring)
		debugfs_create_file("ring", 0400, dir, NULL, &ring_fops);
	return err;
}

/**
 * faultprof_ring_exit() - the reverse; its file in debugfs has gone
 *
 * The event may still have a listener: it goes after this.
 *
 * Context: module exit; may sleep.
 */
void faultprof_ring_exit(void)
{
	const struct fault_ring *gone;
	int node;

	mutex_lock(&lock);
	stop_readers();
	for_each_node(node) {
		if (readers[node])
			free_pages((unsigned long)readers[node], get_order(sizeof(struct reader)));
		readers[node] = NULL;
	}
	gone = ring;
	ring = NULL;
	mutex_unlock(&lock);
	if (gone)
		memunmap((void *)gone);
}
