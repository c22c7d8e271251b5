// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads faults: lines that hold an event numaspan:fault (of a host) or faultprof:dsm_fault (of the
 * guest) as tracefs and perf script print it, or a perf.data, which perf itself takes apart; or
 * what samples.c makes faults of.  Lines of other events are left out.  A fault that is not whole,
 * or a file without one, is an error.
 *
 * A guest's recording has faults that the profiler caused; they are counted and left out.  It
 * numbers each node's faults, so that what it has lost is known.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faultprof.h"

#define PERF_MAGIC	"PERFILE2"
#define KVM_FAULT	"kvm_page_fault:"

/* What perf script is to say of samples of perf mem; with phys_addr behind it if there is one */
#define MEM_FIELDS	"pid,cpu,time,event,addr,data_src,weight,ip"

enum {
	K_SPAN, K_NODE, K_HOME, K_PAGE, K_GPA, K_ADDRESS, K_IP, K_VCPU, K_NS, K_SEQ, K_TIME,
	NR_KEYS
};

#define KEY(k)	(1U << (k))
#define IN_BOTH	(KEY(K_NODE) | KEY(K_HOME) | KEY(K_PAGE) | KEY(K_GPA) | KEY(K_IP) | \
		 KEY(K_VCPU) | KEY(K_NS))

/* An event: how it begins, its name, and the keys that it has */
static const struct kind {
	const char *begin, *name;
	u32 keys;
} kinds[] = {
	{ "fault: span=", "numaspan:fault", IN_BOTH | KEY(K_SPAN) | KEY(K_ADDRESS) },
	{ "dsm_fault: seq=", "faultprof:dsm_fault", IN_BOTH | KEY(K_SEQ) | KEY(K_TIME) },
};

static const struct {
	const char *name;
	int base;
	u64 most;
} keys[NR_KEYS] = {
	[K_SPAN] = { "span", 16, UINT64_MAX },
	[K_NODE] = { "node", 10, MAX_NODES - 1 },
	[K_HOME] = { "home", 10, MAX_NODES - 1 },
	[K_PAGE] = { "page", 10, UINT64_MAX / PAGE_SIZE },
	[K_GPA] = { "gpa", 16, UINT64_MAX },
	[K_ADDRESS] = { "address", 16, UINT64_MAX },
	[K_IP] = { "ip", 16, UINT64_MAX },
	[K_VCPU] = { "vcpu", 10, MAX_VCPU },
	[K_NS] = { "ns", 10, UINT64_MAX },
	[K_SEQ] = { "seq", 10, UINT64_MAX - 1 },
	[K_TIME] = { "time", 10, UINT64_MAX },
};

/* Where the line that is being read comes from, and what it was */
static const char *file;
static u64 line_nr;
static bool file_has_kvm, file_has_samples;

/* The numbers of each node's faults in that file, of those that have one */
static struct {
	u64 nr, first, last;
} numbers[MAX_NODES];

/* "12.345678" just before the event's name, in nanoseconds; false if that is no time. */
static bool get_time(const char *line, const char *event, u64 *time_ns)
{
	const char *s = event;
	u64 part = 0, unit = 1000000000;
	char *end;

	/* Back over the event's name, "numaspan:fault:" or "fault:", the blank and the colon */
	while (s > line && s[-1] != ' ')
		s--;
	while (s > line && (s[-1] == ' ' || s[-1] == ':'))
		s--;
	while (s > line && ((s[-1] >= '0' && s[-1] <= '9') || s[-1] == '.'))
		s--;
	if (*s < '0' || *s > '9')
		return false;
	*time_ns = strtoull(s, &end, 10) * 1000000000ULL;
	if (*end != '.')
		return false;
	for (s = end + 1; *s >= '0' && *s <= '9' && unit >= 10; s++) {
		unit /= 10;
		part += (*s - '0') * unit;
	}
	*time_ns += part;
	return *s == ':';
}

static bool get_value(const char *s, int key, u64 *value)
{
	const bool none = key == K_VCPU && !strcmp(s, "-1");
	char *end;

	errno = 0;
	*value = none ? 0 : strtoull(s, &end, keys[key].base);
	return none || (*s != '-' && *s && !*end && !errno && *value <= keys[key].most);
}

static void add_number(u8 node, u64 seq)
{
	if (!numbers[node].nr || seq < numbers[node].first)
		numbers[node].first = seq;
	if (!numbers[node].nr || seq > numbers[node].last)
		numbers[node].last = seq;
	numbers[node].nr++;
}

static u64 count_lost(void)
{
	u64 lost = 0, all;
	u32 i;

	for (i = 0; i < MAX_NODES; i++) {
		if (!numbers[i].nr)
			continue;
		all = numbers[i].last - numbers[i].first + 1;
		if (numbers[i].nr > all)
			fail("%s: %llu events of node %u have %llu numbers: expected each once",
			     file, numbers[i].nr, i, all);
		lost += all - numbers[i].nr;
	}
	return lost;
}

/* The words of an event: KEY=VALUE, "read" or "write", "walk", "own".  NULL, or what is wrong. */
static const char *parse(const struct kind *kind, char *words, struct fault *f, bool *own)
{
	static char what[80];
	u64 value[NR_KEYS];
	u32 seen = 0, i;
	bool access = false;
	char *word, *save;

	for (word = strtok_r(words, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save)) {
		char *eq = strchr(word, '=');

		if (!strcmp(word, "read") || !strcmp(word, "write")) {
			f->write = *word == 'w';
			access = true;
			continue;
		}
		if (!strcmp(word, "walk")) {
			f->walk = true;
			continue;
		}
		if (kind->keys & KEY(K_SEQ) && !strcmp(word, "own")) {
			*own = true;
			continue;
		}
		for (i = 0; eq && i < NR_KEYS; i++)
			if (strlen(keys[i].name) == (size_t)(eq - word) &&
			    !strncmp(word, keys[i].name, eq - word))
				break;
		snprintf(what, sizeof(what), "\"%.60s\"", word);
		if (!eq || i == NR_KEYS || seen & KEY(i) || !(kind->keys & KEY(i)) ||
		    !get_value(eq + 1, i, &value[i]))
			return what;
		if (i == K_VCPU)
			f->vcpu = eq[1] == '-' ? -1 : (int)value[i];
		seen |= KEY(i);
	}
	for (i = 0; i < NR_KEYS; i++) {
		snprintf(what, sizeof(what), "no %s", keys[i].name);
		if (kind->keys & ~seen & KEY(i))
			return what;
	}
	f->node = value[K_NODE];
	f->home = value[K_HOME];
	f->page = value[K_PAGE];
	f->gpa = value[K_GPA];
	f->ip = value[K_IP];
	f->ns = value[K_NS];
	if (!access)
		return "neither read nor write";
	if (seen & KEY(K_TIME))
		f->time_ns = value[K_TIME];
	if (seen & KEY(K_SEQ))
		add_number(f->node, value[K_SEQ]);
	return NULL;
}

/* All files are of one origin: what faults have cost could not be compared otherwise. */
static void add_fault(struct faults *faults, const struct fault *f, enum origin origin)
{
	if (faults->nr && faults->origin != origin)
		fail("%s:%llu: other events than before: expected all of a span, of perf mem, %s",
		     file, line_nr, "or of KVM");
	faults->origin = origin;
	if (faults->nr == faults->room) {
		faults->room = faults->room ? 2 * faults->room : 1024;
		faults->fault = xrealloc(faults->fault, faults->room * sizeof(*f));
	}
	faults->fault[faults->nr++] = *f;
}

static bool begins(const char *line, const char *event)
{
	return event && (event == line || event[-1] == ' ' || event[-1] == ':');
}

/* A page fault of KVM on a host */
static void add_kvm(struct faults *faults, const char *line, const char *event)
{
	struct fault f = { };
	const char *wrong;

	if (faults->hosts == MAX_NODES)
		fail("%s: expected no more than %u hosts", file, MAX_NODES);
	if (!get_time(line, event, &f.time_ns))
		fail("%s:%llu: expected a time before kvm:kvm_page_fault", file, line_nr);
	wrong = samples_kvm(event + strlen(KVM_FAULT), faults->hosts, &f);
	if (wrong)
		fail("%s:%llu: %s: expected a whole event kvm:kvm_page_fault", file, line_nr,
		     wrong);
	file_has_kvm = true;
	add_fault(faults, &f, KVM);
}

/* A sample of perf mem */
static void add_sample(struct faults *faults, const char *line, const char *event)
{
	struct fault f = { };
	const char *wrong;
	bool moved;

	if (!get_time(line, event, &f.time_ns))
		fail("%s:%llu: expected a time before a sample of perf mem", file, line_nr);
	wrong = samples_memory(line, event, &f, &moved);
	if (wrong)
		fail("%s:%llu: %s: expected perf script --header -I -F %s,phys_addr", file, line_nr,
		     wrong, MEM_FIELDS);
	file_has_samples = true;
	if (moved)
		add_fault(faults, &f, NUMA);
	else
		faults->local++;
}

/* A line that is no fault of a span's */
static void add_other(struct faults *faults, const char *line)
{
	const char *event = strstr(line, KVM_FAULT);

	if (!samples_header(line))
		fail("%s:%llu: \"%.60s\": expected a node's CPUs or memory", file, line_nr, line);
	if (begins(line, event)) {
		add_kvm(faults, line, event);
		return;
	}
	event = samples_event(line);
	if (event)
		add_sample(faults, line, event);
}

static void add_line(struct faults *faults, char *line)
{
	const struct kind *kind;
	struct fault f = { };
	const char *wrong;
	bool own = false;
	char *event;

	for (kind = kinds; kind < kinds + ARRAY_SIZE(kinds); kind++) {
		event = strstr(line, kind->begin);
		if (begins(line, event))
			break;
	}
	if (kind == kinds + ARRAY_SIZE(kinds)) {
		add_other(faults, line);
		return;
	}
	if (!get_time(line, event, &f.time_ns))
		fail("%s:%llu: expected a time before %s", file, line_nr, kind->name);
	wrong = parse(kind, strchr(event, ' '), &f, &own);
	if (wrong)
		fail("%s:%llu: %s: expected a whole event %s", file, line_nr, wrong, kind->name);
	if (own)
		faults->own++;
	else
		add_fault(faults, &f, SPAN);
}

static void read_lines(struct faults *faults, FILE *f)
{
	char *line = NULL;
	bool whole = true;
	size_t size = 0;
	ssize_t len;

	line_nr = 0;
	memset(numbers, 0, sizeof(numbers));
	samples_begin();
	while ((len = getline(&line, &size, f)) > 0) {
		line_nr++;
		if (strlen(line) != (size_t)len)
			fail("%s:%llu: expected text without NUL bytes", file, line_nr);
		whole = line[len - 1] == '\n';
		if (whole)
			line[len - 1] = 0;
		add_line(faults, line);
	}
	if (ferror(f))
		fail("%s: %s", file, strerror(errno));
	/* Their last word is a number that would still be one if it were cut short. */
	if (!whole && (file_has_kvm || file_has_samples))
		fail("%s:%llu: expected a newline at its end", file, line_nr);
	faults->lost += count_lost();
	samples_begin();
	free(line);
}

/* perf knows its file, whatever version has written it.  @read gets what it says. */
static void run_perf(const char *const argv[], void (*read)(FILE *f, void *arg), void *arg)
{
	int pipes[2], status;
	FILE *f;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		fail("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		dup2(pipes[1], STDOUT_FILENO);
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	close(pipes[1]);
	f = fdopen(pipes[0], "r");
	if (!f)
		fail("pipe: %s", strerror(errno));
	read(f, arg);
	fclose(f);
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fail("%s: perf cannot be run: expected Debian's linux-perf", file);
	if (status)
		fail("%s: perf %s cannot read it", file, argv[1]);
}

/* Whether it has events whose text says all, or samples of memory, perhaps by physical address */
struct content {
	bool trace, memory, physical;
};

/* Lines of "EVENT: ..., sample_type: IP|TID|..., ..." */
static void read_events(FILE *f, void *arg)
{
	struct content *c = arg;
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		/* Newer ones say what type 2 is: a tracepoint. */
		c->trace |= strstr(line, ": type: 2,") || strstr(line, ": type: 2 (");
		if (!strstr(line, "|ADDR|") || !strstr(line, "|DATA_SRC") ||
		    !strstr(line, "|WEIGHT"))
			continue;
		c->memory = true;
		c->physical |= !!strstr(line, "|PHYS_ADDR");
	}
	free(line);
}

static void read_script(FILE *f, void *arg)
{
	read_lines(arg, f);
}

static void read_trace(struct faults *faults)
{
	static const char fields[] = "comm,tid,cpu,time,event,trace";
	const char *const perf[] = { "perf", "script", "-i", file, "-F", fields, "--ns", NULL };

	run_perf(perf, read_script, faults);
}

static void read_memory(struct faults *faults, bool physical)
{
	const char *const fields = physical ? MEM_FIELDS ",phys_addr" : MEM_FIELDS;
	const char *const perf[] = {
		"perf", "script", "-i", file, "-F", fields, "--ns", "--header", "-I", NULL
	};

	run_perf(perf, read_script, faults);
}

static void read_perf(struct faults *faults)
{
	const char *const perf[] = { "perf", "evlist", "-v", "-i", file, NULL };
	struct content c = { };

	run_perf(perf, read_events, &c);
	if (c.memory && !c.trace)
		read_memory(faults, c.physical);
	else
		read_trace(faults);
}

/**
 * input_read() - add the faults of a file
 * @f:		faults so far
 * @path:	a perf.data, or lines; if of KVM, of the next host
 *
 * Ends the program if there is none in it, or one is damaged.
 */
void input_read(struct faults *f, const char *path)
{
	char magic[sizeof(PERF_MAGIC) - 1] = "";
	size_t before = f->nr;
	struct stat st;
	FILE *in;

	file = path;
	file_has_kvm = false;
	file_has_samples = false;
	in = fopen(path, "re");
	if (!in || fstat(fileno(in), &st))
		fail("%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		fail("%s: expected a file", path);
	if (fread(magic, 1, sizeof(magic), in) == sizeof(magic) &&
	    !memcmp(magic, PERF_MAGIC, sizeof(magic))) {
		read_perf(f);
	} else {
		rewind(in);
		read_lines(f, in);
	}
	fclose(in);
	if (f->nr == before && file_has_samples)
		fail("%s: no sample of what another node had: expected accesses of two", path);
	if (f->nr == before)
		fail("%s: no numaspan:fault in it, nor dsm_fault, kvm_page_fault, %s", path,
		     "samples of perf mem: expected a perf.data or a trace");
	if (file_has_kvm) {
		f->hosts++;
		samples_homes(f);
	}
}
