// SPDX-License-Identifier: GPL-2.0-only
/*
 * This node's counters as one JSON object: those of the memory protocol by the names of
 * struct numaspan_stats, and spanvm's own.  The file is written under another name and
 * renamed, so a reader never sees half of it.
 */
#include "spanvm.h"

static const char *const msg_names[NUMASPAN_NR_MSGS] = {
	[NUMASPAN_GETS] = "gets", [NUMASPAN_GETX] = "getx", [NUMASPAN_EVICT] = "evict",
	[NUMASPAN_FWD_GETS] = "fwd_gets", [NUMASPAN_FWD_GETX] = "fwd_getx",
	[NUMASPAN_RECALL] = "recall", [NUMASPAN_INV] = "inv", [NUMASPAN_GRANT] = "grant",
	[NUMASPAN_DATA] = "data", [NUMASPAN_ACK] = "ack", [NUMASPAN_DONE] = "done",
	[NUMASPAN_PING] = "ping", [NUMASPAN_BYE] = "bye",
};

static const char *const part_names[NUMASPAN_NR_PARTS] = {
	[NUMASPAN_PART_FAULT] = "fault_ns", [NUMASPAN_PART_EXIT] = "exit_ns",
	[NUMASPAN_PART_PROTOCOL] = "protocol_ns", [NUMASPAN_PART_NETWORK] = "network_ns",
	[NUMASPAN_PART_INSTALL] = "install_ns",
};

#define FIELD(name) { #name, offsetof(struct numaspan_stats, name) }
static const struct {
	const char *name;
	size_t off;
} fields[] = {
	FIELD(node), FIELD(faults_read), FIELD(faults_write), FIELD(faults_walk),
	FIELD(faults_local), FIELD(transfers_in), FIELD(transfers_out), FIELD(invalidations),
	FIELD(downgrades), FIELD(upgrades), FIELD(bytes_in), FIELD(bytes_out), FIELD(msgs),
	FIELD(prefetched), FIELD(prefetch_used), FIELD(cleared), FIELD(evicted),
	FIELD(cache_pages), FIELD(cache_peak), FIELD(cache_limit), FIELD(held), FIELD(stolen),
	FIELD(drain_waits), FIELD(stale), FIELD(zeros_in), FIELD(zeros_out), FIELD(page_copies),
	FIELD(refused),
};

static void put_msgs(FILE *f, const char *name, const __u64 *n)
{
	u32 i;

	fprintf(f, ",\n  \"%s\": {", name);
	for (i = 0; i < NUMASPAN_NR_MSGS; i++)
		fprintf(f, "%s\"%s\": %llu", i ? ", " : "", msg_names[i], n[i]);
	fputc('}', f);
}

static void put_times(FILE *f, const char *name, const struct numaspan_times *t)
{
	u32 i;

	fprintf(f, ",\n  \"%s_count\": %llu,\n  \"%s_sum\": %llu,\n  \"%s\": [", name, t->count,
		name, t->sum_ns, name);
	for (i = 0; i < NUMASPAN_TIME_BUCKETS; i++)
		fprintf(f, "%s%llu", i ? ", " : "", t->log2[i]);
	fputc(']', f);
}

static void put(struct vmm *vm, FILE *f)
{
	struct numaspan_stats s = { .abi = NUMASPAN_ABI, .size = sizeof(s) };
	u32 i;

	if (ioctl(vm->mem_fd, NUMASPAN_STATS, &s))
		say(vm, "NUMASPAN_STATS: %s", strerror(errno));
	s.node = vm->cfg->node;
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		fprintf(f, "%s\n  \"%s\": %llu", i ? "," : "{", fields[i].name,
			*(unsigned long long *)((u8 *)&s + fields[i].off));
	put_msgs(f, "msgs_out", s.msgs_out);
	put_msgs(f, "msgs_in", s.msgs_in);
	for (i = 0; i < NUMASPAN_NR_PARTS; i++)
		put_times(f, part_names[i], &s.times[i]);
	fprintf(f, ",\n  \"incarnation\": %u", vm->incarnation);
	fprintf(f, ",\n  \"ipis_out\": %llu,\n  \"ipis_in\": %llu", atomic_load(&vm->n_ipi_out),
		atomic_load(&vm->n_ipi_in));
	fprintf(f, ",\n  \"io_out\": %llu,\n  \"io_in\": %llu", atomic_load(&vm->n_io_out),
		atomic_load(&vm->n_io_in));
	fprintf(f, ",\n  \"clock_error_ns\": %lld,\n  \"tsc_drift\": %lld",
		vm->clock.error_ns, vm->clock.drift_tsc);
	fprintf(f, ",\n  \"clock_steps\": %llu,\n  \"link_rtt_tsc\": %llu\n}\n",
		vm->clock.steps, vm->clock.rtt_tsc);
}

/**
 * stats_write - write the counters to the file of --stats
 * @vm: this node
 */
void stats_write(struct vmm *vm)
{
	const char *path = vm->cfg->stats;
	char tmp[4096];
	bool bad = true;
	FILE *f;

	if (!path)
		return;
	if (!strcmp(path, "-")) {
		put(vm, stdout);
		fflush(stdout);
		return;
	}
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "we");
	if (f) {
		put(vm, f);
		bad = ferror(f);
		bad = fclose(f) || bad || rename(tmp, path);
	}
	if (bad) {
		say(vm, "--stats %s: %s", path, strerror(errno));
		unlink(tmp);
	}
}
