// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod-bench: locks under load in a running kernel.  insmod does one run, as the parameters
 * say, and fails if the results were wrong; a write to debugfs' kmod-bench/run does another,
 * with the parameters as they are then.  What came of the last one is in kmod-bench/result
 * (TAP), kmod-bench/result.json and, in one line, in the kernel's log.
 *
 * At most one run is under way.  Its controller, a kernel thread, works on it; the run stays,
 * with its result, until the next takes its place.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/topology.h>

#include "bench.h"
#include "../../modules/params.h"

static const struct lock_ops * const locks[] = {
	&lock_spin, &lock_rwsem, &lock_percpu, &lock_pernode, &lock_ccsynch, &lock_combine,
	&lock_none,
};

static const struct workload * const workloads[] = {
	&workload_counter, &workload_list, &workload_mix,
};

static char *lock = "spinlock";
module_param(lock, charp, 0644);
MODULE_PARM_DESC(lock, "spinlock, rwsem, percpu, pernode, ccsynch, combine, or none (spinlock)");
static char *workload = "counter";
module_param(workload, charp, 0644);
MODULE_PARM_DESC(workload, "counter, list, or read0 to read100: % that only read (counter)");
static unsigned int threads;
module_param(threads, uint, 0644);
MODULE_PARM_DESC(threads, "threads, at most one a CPU; 0: as many (0)");
static unsigned int nodes;
module_param(nodes, uint, 0644);
MODULE_PARM_DESC(nodes, "use the CPUs of so many nodes; 0: all (0)");
static char *placement = "spread";
module_param(placement, charp, 0644);
MODULE_PARM_DESC(placement, "spread over nodes in turn, or packed: node by node (spread)");
static unsigned int ops = 100000;
module_param(ops, uint, 0644);
MODULE_PARM_DESC(ops, "operations of each thread in a round, 1 to 100000000 (100000)");
static unsigned int rounds = 5;
module_param(rounds, uint, 0644);
MODULE_PARM_DESC(rounds, "how often all is done, 1 to 100 (5)");
static unsigned int sample = 1;
module_param(sample, uint, 0644);
MODULE_PARM_DESC(sample, "time every so many-th operation, 1 to 1000000 (1)");
static unsigned int hold;
module_param(hold, uint, 0644);
MODULE_PARM_DESC(hold, "times to relax the CPU in an operation, 0 to 10000 (0)");
static unsigned int think;
module_param(think, uint, 0644);
MODULE_PARM_DESC(think, "times to relax the CPU between two operations, 0 to 10000 (0)");
static bool expect_broken;
module_param(expect_broken, bool, 0644);
MODULE_PARM_DESC(expect_broken, "for lock=none: fail if the results are right (0)");
static bool wait = true;
module_param(wait, bool, 0644);
MODULE_PARM_DESC(wait, "until the run has ended; 0: it goes on in the background (1)");

static DEFINE_MUTEX(start_lock);	/* who starts a run has it, until the start is done */
static DEFINE_MUTEX(run_lock);		/* of @run, for who shows results */
static struct run *run;
static struct task_struct *controller;	/* of @run; may have ended */
static DECLARE_COMPLETION(ended);	/* its work has */
static int status;			/* how, when it has */
static struct dentry *debugfs;

/* A parameter that is a word: whoever wrote it to sysfs may have written a newline, too. */
static char *word(char *buf, size_t size, const char *param)
{
	strscpy(buf, param, size);
	return strim(buf);
}

static int find_lock(struct config *c)
{
	char buf[32], *name = word(buf, sizeof(buf), lock);
	const char *names[ARRAY_SIZE(locks)];
	int i;

	for (i = 0; i < ARRAY_SIZE(locks); i++)
		names[i] = locks[i]->name;
	i = find_word("lock", name, names, ARRAY_SIZE(names));
	if (i < 0)
		return i;
	if (locks[i]->broken != expect_broken) {
		pr_err("lock=%s, expect_broken=%d: expected none and 1, or neither\n",
		       name, expect_broken);
		return -EINVAL;
	}
	c->lock = locks[i];
	c->expect_broken = expect_broken;
	return 0;
}

/* Is it this workload?  If it mixes, the share of what reads follows its name. */
static bool is_workload(const struct workload *w, const char *name, unsigned int *read_share)
{
	size_t len = strlen(w->name);

	if (!w->mixed)
		return !strcmp(name, w->name);
	return !strncmp(name, w->name, len) && !kstrtouint(name + len, 10, read_share) &&
	       *read_share <= 100;
}

static int find_workload(struct config *c)
{
	char buf[32], *name = word(buf, sizeof(buf), workload);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(workloads); i++) {
		if (!is_workload(workloads[i], name, &c->read_share))
			continue;
		c->workload = workloads[i];
		return 0;
	}
	pr_err("workload=%s: expected counter, list, or read0 to read100\n", name);
	return -EINVAL;
}

/* The CPUs of a node: @nth of them, nr_cpu_ids or more if it has fewer */
static unsigned int node_cpu(int node, unsigned int nth)
{
	return cpumask_nth_and(nth, cpumask_of_node(node), cpu_online_mask);
}

/* Choose nodes, and how many threads; no CPU comes or goes. */
static int choose_nodes(struct config *c, nodemask_t *chosen)
{
	unsigned int with_cpus = 0, cpus = 0;
	int node;

	nodes_clear(*chosen);
	for_each_online_node(node) {
		if (node_cpu(node, 0) >= nr_cpu_ids)
			continue;
		with_cpus++;
		if (nodes && with_cpus > nodes)
			continue;
		node_set(node, *chosen);
		cpus += cpumask_weight_and(cpumask_of_node(node), cpu_online_mask);
	}
	if (nodes > with_cpus) {
		pr_err("nodes=%u: expected 0 to %u, as many have CPUs\n", nodes, with_cpus);
		return -EINVAL;
	}
	c->threads = threads ?: min_t(unsigned int, cpus, MAX_THREADS);
	return check_number("threads", c->threads, 1, min_t(unsigned int, cpus, MAX_THREADS));
}

/* Give each thread its CPU; no CPU comes or goes. */
static void place_threads(struct config *c, const nodemask_t *chosen)
{
	nodemask_t used = NODE_MASK_NONE;
	unsigned int i, nth = 0;
	int node = first_node(*chosen);

	for (i = 0; i < c->threads; ) {
		unsigned int cpu = node_cpu(node, nth);

		if (cpu < nr_cpu_ids) {
			c->place[i++] = (struct place){ .cpu = cpu, .node = node };
			node_set(node, used);
		}
		/* The other CPUs of the node, or the other nodes, come first. */
		if (c->packed && cpu < nr_cpu_ids) {
			nth++;
			continue;
		}
		node = next_node(node, *chosen);
		if (c->packed)
			nth = 0;
		if (node >= MAX_NUMNODES) {
			node = first_node(*chosen);
			nth++;
		}
	}
	c->nodes = nodes_weight(used);
}

static int check_numbers(void)
{
	return check_number("ops", ops, 1, 100000000) ?:
	       check_number("rounds", rounds, 1, MAX_ROUNDS) ?:
	       check_number("sample", sample, 1, 1000000) ?:
	       check_number("hold", hold, 0, 10000) ?:
	       check_number("think", think, 0, 10000);
}

/* The parameters hold still; make a configuration of them, with its @place. */
static int make_config(struct config *c)
{
	static const char * const places[] = { "spread", "packed" };
	char buf[32], *where = word(buf, sizeof(buf), placement);
	nodemask_t chosen;
	int err;

	err = find_lock(c) ?: find_workload(c) ?: check_numbers();
	if (err)
		return err;
	err = find_word("placement", where, places, ARRAY_SIZE(places));
	if (err < 0)
		return err;
	c->packed = err;
	c->ops = ops;
	c->rounds = rounds;
	c->sample = sample;
	c->hold = hold;
	c->think = think;
	cpus_read_lock();
	err = choose_nodes(c, &chosen);
	if (!err) {
		c->place = kcalloc(c->threads, sizeof(*c->place), GFP_KERNEL);
		if (c->place)
			place_threads(c, &chosen);
		else
			err = -ENOMEM;
	}
	cpus_read_unlock();
	if (err)
		return err;
	if (c->workload->mixed)
		scnprintf(buf, sizeof(buf), "%s%u", c->workload->name, c->read_share);
	else
		strscpy(buf, c->workload->name, sizeof(buf));
	scnprintf(c->name, sizeof(c->name), "%s/%s/n%u/t%u", c->lock->name, buf, c->nodes,
		  c->threads);
	return 0;
}

static int controller_fn(void *unused)
{
	status = run_work(run);
	if (status) {
		pr_err("%s: ended early, error %d\n", run_result(run)->config.name, status);
	} else {
		result_log(run_result(run));
		status = result_verdict(run_result(run));
	}
	complete_all(&ended);
	return 0;
}

/* Forget the last run, which is ended if it has not; the caller has start_lock, or is alone. */
static void forget(void)
{
	mutex_lock(&run_lock);
	if (run) {
		run_stop(run);
		kthread_stop(controller);
		put_task_struct(controller);
		run_free(run);
		run = NULL;
	}
	mutex_unlock(&run_lock);
}

/* The caller has start_lock. */
static int start(void)
{
	struct config config = { };
	int err;

	if (run && !completion_done(&ended)) {
		pr_err("%s: runs, expected to have ended\n", run_result(run)->config.name);
		return -EBUSY;
	}
	forget();
	kernel_param_lock(THIS_MODULE);
	err = make_config(&config);
	kernel_param_unlock(THIS_MODULE);
	if (err)
		return err;
	mutex_lock(&run_lock);
	reinit_completion(&ended);
	run = run_alloc(&config);
	if (!run) {
		err = -ENOMEM;
		goto unlock;
	}
	controller = kthread_create(controller_fn, NULL, "kmod_bench");
	if (IS_ERR(controller)) {
		err = PTR_ERR(controller);
		run_free(run);
		run = NULL;
		goto unlock;
	}
	get_task_struct(controller);
	wake_up_process(controller);
unlock:
	mutex_unlock(&run_lock);
	return err;
}

/* Start a run; wait for it, if that is wanted, as long as the caller is not killed. */
static int start_and_wait(void)
{
	int err;

	if (!mutex_trylock(&start_lock)) {
		pr_err("a run is under way, expected none\n");
		return -EBUSY;
	}
	err = start();
	if (!err && wait) {
		if (wait_for_completion_killable(&ended)) {
			run_stop(run);
			wait_for_completion(&ended);
		}
		err = status;
	}
	mutex_unlock(&start_lock);
	return err;
}

static ssize_t run_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	return start_and_wait() ?: count;
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = run_write,
	.llseek = noop_llseek,
};

/* Show the last run's result, or @nothing while there is none. */
static int show(struct seq_file *seq, void (*how)(const struct result *, struct seq_file *),
		const char *nothing)
{
	if (mutex_lock_interruptible(&run_lock))
		return -EINTR;
	if (run && completion_done(&ended))
		how(run_result(run), seq);
	else
		seq_puts(seq, nothing);
	mutex_unlock(&run_lock);
	return 0;
}

static int result_show(struct seq_file *seq, void *unused)
{
	return show(seq, result_tap, "1..0 # SKIP no run has ended\n");
}
DEFINE_SHOW_ATTRIBUTE(result);

static int json_show(struct seq_file *seq, void *unused)
{
	return show(seq, result_json, "{\"bench\": \"kmod\", \"rows\": []}\n");
}
DEFINE_SHOW_ATTRIBUTE(json);

static int __init bench_init(void)
{
	int err = start_and_wait();

	if (err) {
		forget();
		return err;
	}
	debugfs = debugfs_create_dir("kmod-bench", NULL);
	debugfs_create_file("run", 0200, debugfs, NULL, &run_fops);
	debugfs_create_file("result", 0400, debugfs, NULL, &result_fops);
	debugfs_create_file("result.json", 0400, debugfs, NULL, &json_fops);
	return 0;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
	debugfs_remove(debugfs);
	forget();
}
module_exit(bench_exit);

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("Benchmark of locks over NUMA nodes");
MODULE_LICENSE("GPL");
