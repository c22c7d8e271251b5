// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module knows about the accesses it serves: counters, and who made the access.
 *
 * KVM's tracepoint kvm_page_fault fires just before KVM faults the page in, on the same task; a
 * probe on it keeps guest-physical address, instruction pointer and error code by task.  They are
 * believed for a fault at the same page while the CPU has not been back in the guest.  The
 * probe reads registers only: a probe that walked guest memory could fault into this module.
 */
#include <linux/debugfs.h>
#include <linux/hash.h>
#include <linux/jhash.h>
#include <linux/kvm_host.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include "node.h"

/* arch/x86/kvm/trace.h is not among the headers; this is the prototype of 6.0 and later. */
DECLARE_TRACE(kvm_page_fault,
	      TP_PROTO(struct kvm_vcpu *vcpu, u64 fault_address, u64 error_code),
	      TP_ARGS(vcpu, fault_address, error_code));

#define AMD_GUEST_PAGE_WALK	BIT_ULL(33)
#define INTEL_GVA_VALID		BIT_ULL(7)
#define INTEL_GVA_TRANSLATED	BIT_ULL(8)

struct access_slot {
	struct task_struct *task;
	struct kvm_vcpu *of;
	u64 exits;	/* of that vCPU so far */
	u64 gpa;
	u64 error;
	u64 ns;
	unsigned long page;	/* where this process has it */
	unsigned long ip;
	u32 token;
	u32 vcpu;
};

#define ACCESS_SLOT_BITS 10

/* Tasks that share a slot lose each other's record, which costs a trace entry its details. */
static struct access_slot slots[1 << ACCESS_SLOT_BITS];
static struct dentry *debugfs_root;

static struct access_slot *slot(void)
{
	return &slots[hash_ptr(current, ACCESS_SLOT_BITS)];
}

static void probe(void *data, struct kvm_vcpu *vcpu, u64 gpa, u64 error)
{
	struct access_slot *s = slot();

	if (!test_bit(VCPU_REGS_RIP, (unsigned long *)&vcpu->arch.regs_avail))
		static_call(kvm_x86_cache_reg)(vcpu, VCPU_REGS_RIP);
	s->ns = ktime_get_ns();
	s->of = vcpu;
	s->exits = vcpu->stat.exits;
	s->page = kvm_vcpu_gfn_to_hva(vcpu, gpa >> PAGE_SHIFT);
	s->gpa = gpa;
	s->error = error;
	s->ip = vcpu->arch.regs[VCPU_REGS_RIP];
	s->token = jhash(vcpu->arch.regs, sizeof(vcpu->arch.regs), 0);
	s->vcpu = vcpu->vcpu_id;
	WRITE_ONCE(s->task, current);
}

/* Is the access the one that the guest's CPU has left the guest for? */
static bool is_guests(const struct access_slot *s, const struct vm_fault *vmf)
{
	/* Not NULL only in KVM_RUN, and then it is the current task's. */
	const struct kvm_vcpu *vcpu = kvm_get_running_vcpu();

	return vcpu && READ_ONCE(s->task) == current && s->of == vcpu &&
	       s->exits == vcpu->stat.exits && s->page == (vmf->address & PAGE_MASK);
}

/**
 * ns_observe_access() - who makes the access that has just faulted?
 * @vmf:	the fault
 * @info:	filled in
 *
 * Context: the faulting task.
 */
void ns_observe_access(const struct vm_fault *vmf, struct ns_access_info *info)
{
	const struct access_slot *s = slot();
	bool user = vmf->flags & FAULT_FLAG_USER;

	memset(info, 0, sizeof(*info));
	if (user || !is_guests(s, vmf)) {
		info->exact = user;
		info->gpa = vmf->real_address;
		if (current->mm) {
			info->ip = instruction_pointer(task_pt_regs(current));
			info->token = jhash(task_pt_regs(current), sizeof(struct pt_regs), 0);
		}
		return;
	}
	info->kvm = true;
	info->exact = true;
	info->gpa = s->gpa;
	info->exit_ns = s->ns;
	info->ip = s->ip;
	info->token = s->token;
	info->vcpu = s->vcpu;
	if (boot_cpu_has(X86_FEATURE_SVM))
		info->walk = s->error & AMD_GUEST_PAGE_WALK;
	else
		info->walk = (s->error & INTEL_GVA_VALID) && !(s->error & INTEL_GVA_TRANSLATED);
}

/**
 * ns_observe_time() - a part of a fault that had to wait for a peer is over
 * @n:		node
 * @part:	which
 * @ns:		how long it took
 *
 * Context: any.
 */
void ns_observe_time(struct ns_node *n, enum numaspan_part part, u64 ns)
{
	unsigned int bucket = min_t(unsigned int, ilog2(ns | 1), NUMASPAN_TIME_BUCKETS - 1);

	ns_count(n, times[part].count);
	ns_count_add(n, times[part].sum_ns, ns);
	ns_count(n, times[part].log2[bucket]);
}

/* Counters that are the sum of all CPUs'. */
#define FIELD(name)	{ #name, offsetof(struct numaspan_stats, name), \
			  offsetof(struct ns_counters, name) }
static const struct {
	const char *name;
	u16 sum;	/* where it goes */
	u16 of_cpu;	/* where it comes from */
} fields[] = {
	FIELD(faults_read), FIELD(faults_write), FIELD(faults_walk), FIELD(faults_local),
	FIELD(transfers_in), FIELD(transfers_out), FIELD(invalidations), FIELD(downgrades),
	FIELD(upgrades), FIELD(bytes_in), FIELD(bytes_out), FIELD(msgs), FIELD(evicted),
	FIELD(held), FIELD(stolen), FIELD(drain_waits), FIELD(stale), FIELD(zeros_in),
	FIELD(zeros_out), FIELD(page_copies), FIELD(refused), FIELD(prefetched),
	FIELD(prefetch_used), FIELD(cleared),
};

static void add(u64 *to, const u64 *from, size_t bytes)
{
	for (; bytes; bytes -= sizeof(*to))
		*to++ += READ_ONCE(*from++);
}

/**
 * ns_fill_stats() - add the counters up
 * @n:		node
 * @s:		filled in
 *
 * Context: may sleep.
 */
void ns_fill_stats(struct ns_node *n, struct numaspan_stats *s)
{
	unsigned int cpu, i;

	memset(s, 0, sizeof(*s));
	s->abi = NUMASPAN_ABI;
	s->size = sizeof(*s);
	s->node = n->self;
	for_each_possible_cpu(cpu) {
		const struct ns_counters *c = per_cpu_ptr(n->counters, cpu);

		for (i = 0; i < ARRAY_SIZE(fields); i++)
			add((void *)s + fields[i].sum, (void *)c + fields[i].of_cpu, sizeof(u64));
		add(s->msgs_out, c->msgs_out, sizeof(c->msgs_out));
		add(s->msgs_in, c->msgs_in, sizeof(c->msgs_in));
		for (i = 0; i < NUMASPAN_NR_PARTS; i++)
			add(&s->times[i].count, &c->times[i].count, sizeof(c->times[i]));
	}
	s->cache_pages = atomic_long_read(&n->cache_used);
	s->cache_peak = atomic_long_read(&n->cache_peak);
	s->cache_limit = n->cache_limit;
}

static int stats_show(struct seq_file *m, void *v)
{
	struct numaspan_stats *s = kmalloc(sizeof(*s), GFP_KERNEL);
	unsigned int i;

	if (!s)
		return -ENOMEM;
	ns_fill_stats(m->private, s);
	seq_printf(m, "node %llu\ncache_pages %llu\ncache_peak %llu\ncache_limit %llu\n", s->node,
		   s->cache_pages, s->cache_peak, s->cache_limit);
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		seq_printf(m, "%s %llu\n", fields[i].name, *(u64 *)((void *)s + fields[i].sum));
	kfree(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* "PEER HOW": break the connection to a peer, for tests. */
static ssize_t damage_write(struct file *f, const char __user *data, size_t len, loff_t *pos)
{
	struct ns_node *n = file_inode(f)->i_private;
	char buf[32] = "", how[16];
	unsigned int peer;
	int err;

	if (len >= sizeof(buf) || copy_from_user(buf, data, len))
		return -EINVAL;
	if (sscanf(buf, "%u %15s", &peer, how) != 2 || peer >= n->nr_nodes || peer == n->self) {
		pr_notice("numaspan: damage %*pE: expected a peer below %u and how\n", (int)len,
			  buf, n->nr_nodes);
		return -EINVAL;
	}
	err = n->transport->damage(n, peer, how);
	return err ?: len;
}

static const struct file_operations damage_fops = {
	.owner = THIS_MODULE, .open = simple_open, .write = damage_write,
};

/**
 * ns_debugfs_add() - show the node's counters in debugfs, numaspan/SPAN-NODE/stats
 * @n:		node
 *
 * Context: may sleep.
 */
void ns_debugfs_add(struct ns_node *n)
{
	char name[32];

	snprintf(name, sizeof(name), "%llx-%u", n->span_id, n->self);
	n->debugfs = debugfs_create_dir(name, debugfs_root);
	debugfs_create_file("stats", 0400, n->debugfs, n, &stats_fops);
	if (ns_unsafe_tests && n->transport->damage)
		debugfs_create_file("damage", 0200, n->debugfs, n, &damage_fops);
}

/**
 * ns_debugfs_remove() - the reverse; waits for readers
 * @n:		node
 *
 * Context: may sleep.
 */
void ns_debugfs_remove(struct ns_node *n)
{
	debugfs_remove(n->debugfs);
	n->debugfs = NULL;
}

/**
 * ns_observe_init() - probe KVM's tracepoint
 *
 * Context: module initialisation.
 * Return: 0 or an errno.
 */
int ns_observe_init(void)
{
	int err = register_trace_kvm_page_fault(probe, NULL);

	if (err)
		return err;
	debugfs_root = debugfs_create_dir("numaspan", NULL);
	return 0;
}

/**
 * ns_observe_exit() - the reverse
 *
 * Context: module exit; may sleep.
 */
void ns_observe_exit(void)
{
	unregister_trace_kvm_page_fault(probe, NULL);
	tracepoint_synchronize_unregister();
	debugfs_remove(debugfs_root);
}
