// SPDX-License-Identifier: GPL-2.0-only
/*
 * The span's configuration file and the command line.  Everything is checked here,
 * before KVM or a peer is touched: after config_load() every field is in range, node
 * ranges are laid out, and the key is in memory.  Each error is one line that names the
 * value and what was expected, and exit status 2.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "spanvm.h"

#define SPAN		MAX_NODES	/* the section [span]; the others are nodes */
#define SEEN		BIT(31)
#define MAX_MEMORY	BIT_ULL(46)

struct parser {
	struct config *c;
	int section;		/* -1: none yet */
	u32 seen[MAX_NODES + 1];	/* of each section: SEEN, and a bit for each of its keys */
};

/* Where what is checked comes from: a line of a file, a file, or the command line. */
static struct {
	const char *file;
	u32 line;
} place;

static void __noreturn __printf(1, 2) bad(const char *fmt, ...)
{
	va_list ap;

	fputs("spanvm: ", stderr);
	if (place.file)
		fprintf(stderr, place.line ? "%.300s:%u: " : "%.300s: ", place.file, place.line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

#define BAD_VALUE(key, val, want, ...) \
	bad("%s \"%.100s\": expected " want, key, val, ##__VA_ARGS__)

struct unit {
	const char *name;
	u64 factor;
};

static const struct unit no_units[] = { { "", 1 }, { } };
static const struct unit times[] = { { "ms", 1 }, { "s", 1000 }, { } };
static const struct unit sizes[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { "T", 1ULL << 40 },
	{ "k", 1 << 10 }, { "m", 1 << 20 }, { "g", 1 << 30 }, { "t", 1ULL << 40 }, { }
};

/* What a key's value has to be, and the field of struct config or struct node_cfg it goes to. */
struct key {
	const char *name;
	void (*set)(const struct key *k, const char *val, void *at);
	size_t off;			/* of the field */
	bool of_span, needed;
	u64 lo, hi, multiple;		/* of a number */
	const struct unit *units;
	const char *want;		/* NULL: a number from lo to hi */
};

/* A number in C's notation up to @end; false if it is none or does not fit. */
static bool number(const char *s, u64 *out, const char **end)
{
	char *e;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*out = strtoull(s, &e, 0);
	*end = e;
	return !errno;
}

static u64 get_number(const struct key *k, const char *val)
{
	const struct unit *u = k->units ?: no_units;
	const char *e;
	u64 n = 0;
	bool ok = number(val, &n, &e);

	while (ok && u->name && strcmp(u->name, e))
		u++;
	ok = ok && u->name && n <= k->hi / u->factor;
	n *= u->factor;
	if (ok && n >= k->lo && !(k->multiple && n % k->multiple))
		return n;
	if (k->want)
		BAD_VALUE(k->name, val, "%s", k->want);
	BAD_VALUE(k->name, val, "a number from %llu to %llu", k->lo, k->hi);
}

static void set_u64(const struct key *k, const char *val, void *at)
{
	*(u64 *)at = get_number(k, val);
}

static void set_u32(const struct key *k, const char *val, void *at)
{
	*(u32 *)at = get_number(k, val);
}

static void set_port(const struct key *k, const char *val, void *at)
{
	set_u32(k, val, at);
	if (port_is_taken(*(u32 *)at))
		BAD_VALUE(k->name, val, "a port that no device has");
}

static void set_string(const struct key *k, const char *val, void *at)
{
	*(char **)at = strdup(val);
}

static void set_flag(const struct key *k, const char *val, void *at)
{
	*(bool *)at = !strcmp(val, "yes");
	if (!*(bool *)at && strcmp(val, "no"))
		BAD_VALUE(k->name, val, "yes or no");
}

/* The number is the flag's bit. */
static void set_bit_flag(const struct key *k, const char *val, void *at)
{
	bool yes;

	set_flag(k, val, &yes);
	if (yes)
		*(u32 *)at |= k->lo;
}

static void set_policy(const struct key *k, const char *val, void *at)
{
	*(bool *)at = !strcmp(val, "giantvm2020");
	if (!*(bool *)at && strcmp(val, "numaspan"))
		BAD_VALUE(k->name, val, "numaspan or giantvm2020");
}

static void set_map(const struct key *k, const char *val, void *at)
{
	struct config *c = at;

	if (!guest_read_map(val, &c->clear_start, &c->clear_end))
		BAD_VALUE(k->name, val, "a kernel's System.map, with clear_page_rep in it");
}

static void set_transport(const struct key *k, const char *val, void *at)
{
	static const char * const names[] = { "loopback", "tcp", "rdma" };
	u32 i = 0;

	while (i < ARRAY_SIZE(names) && strcmp(val, names[i]))
		i++;
	if (i == ARRAY_SIZE(names))
		BAD_VALUE(k->name, val, "tcp, rdma or loopback");
	*(u32 *)at = i;
}

static void set_address(const struct key *k, const char *val, void *at)
{
	struct sv_addr *a = at;
	char host[64];
	const char *colon = strrchr(val, ':'), *e;
	size_t n = colon ? colon - val : 0;
	bool six;
	u64 port;

	memset(a, 0, sizeof(*a));
	if (strlen(val) >= sizeof(a->text))
		BAD_VALUE(k->name, val, "at most %zu characters", sizeof(a->text) - 1);
	memcpy(a->text, val, strlen(val) + 1);
	if (!strncmp(val, "unix:", 5)) {
		if (val[5] != '/' || strlen(val + 5) >= sizeof(a->un.sun_path))
			BAD_VALUE(k->name, val, "unix: and a path of below %zu characters",
				  sizeof(a->un.sun_path));
		a->un.sun_family = AF_UNIX;
		memcpy(a->un.sun_path, val + 5, strlen(val + 5) + 1);
		a->len = sizeof(a->un);
		return;
	}
	if (!n || n >= sizeof(host) || !number(colon + 1, &port, &e) || *e || !port || port > 65535)
		BAD_VALUE(k->name, val, "IPV4:PORT, [IPV6]:PORT or unix:/PATH");
	six = val[0] == '[' && val[n - 1] == ']';
	memcpy(host, val, n);
	host[n - six] = 0;
	a->sa.sa_family = six ? AF_INET6 : AF_INET;
	a->len = six ? sizeof(a->in6) : sizeof(a->in);
	a->in.sin_port = htons(port);	/* where struct sockaddr_in6 has it, too */
	if (inet_pton(a->sa.sa_family, host + six,
		      six ? (void *)&a->in6.sin6_addr : &a->in.sin_addr) != 1)
		BAD_VALUE(k->name, val, "IPV4:PORT, [IPV6]:PORT or unix:/PATH");
}

static void set_rails(const struct key *k, const char *val, void *at)
{
	struct node_cfg *n = at;
	const char *end = val;
	char one[sizeof(n->addr.text)];

	for (; *end; val = end + 1) {
		end = strchrnul(val, ',');
		if (n->nr_rdma == MAX_RAILS || end - val >= (long)sizeof(one))
			BAD_VALUE(k->name, val, "at most %d addresses", MAX_RAILS);
		snprintf(one, sizeof(one), "%.*s", (int)(end - val), val);
		set_address(k, one, &n->rdma[n->nr_rdma++]);
		if (n->rdma[n->nr_rdma - 1].sa.sa_family == AF_UNIX)
			BAD_VALUE(k->name, one, "IPV4:PORT or [IPV6]:PORT");
	}
}

static void set_pins(const struct key *k, const char *val, void *at)
{
	struct node_cfg *n = at;
	const char *s = val;
	u64 cpu;
	u32 i;

	for (n->nr_pin = 0; n->nr_pin < MAX_CPUS; s++) {
		if (!number(s, &cpu, &s) || cpu >= CPU_SETSIZE || (*s && *s != ','))
			BAD_VALUE(k->name, val, "host CPU numbers separated by commas");
		for (i = 0; i < n->nr_pin; i++)
			if (n->pin[i] == cpu)
				BAD_VALUE(k->name, val, "each host CPU once");
		n->pin[n->nr_pin++] = cpu;
		if (!*s)
			return;
	}
	BAD_VALUE(k->name, val, "at most %d host CPUs", MAX_CPUS);
}

static int open_regular(const char *name, const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, st))
		BAD_VALUE(name, path, "a readable file (%s)", strerror(errno));
	if (!S_ISREG(st->st_mode))
		BAD_VALUE(name, path, "a regular file");
	return fd;
}

static void set_key_file(const struct key *k, const char *path, void *at)
{
	struct config *c = at;
	struct stat st;
	int fd = open_regular(k->name, path, &st);

	if (st.st_mode & 077)
		BAD_VALUE(k->name, path, "mode 0600, not %04o", st.st_mode & 07777);
	if (st.st_size < 32 || st.st_size > (off_t)sizeof(c->key))
		BAD_VALUE(k->name, path, "32 to 4096 bytes in it, not %lld", (long long)st.st_size);
	c->key_len = st.st_size;
	if (read(fd, c->key, c->key_len) != st.st_size)
		BAD_VALUE(k->name, path, "%zu readable bytes", c->key_len);
	close(fd);
}

#define OF_SPAN(field)	.off = offsetof(struct config, field), .of_span = true
#define OF_NODE(field)	.off = offsetof(struct node_cfg, field)

static const struct key keys[] = {
	{ "id", set_u64, OF_SPAN(span_id), .needed = true, .lo = 1, .hi = UINT64_MAX },
	{ "key", set_key_file, .of_span = true, .needed = true },
	{ "transport", set_transport, OF_SPAN(transport), .needed = true },
	{ "timeout", set_u32, OF_SPAN(timeout_ms), .lo = 100, .hi = 600000, .units = times,
	  .want = "a time from 100ms to 600s" },
	{ "kernel", set_string, OF_SPAN(kernel) },
	{ "initrd", set_string, OF_SPAN(initrd) },
	{ "cmdline", set_string, OF_SPAN(cmdline) },
	{ "status_port", set_port, OF_SPAN(status_port), .lo = 1, .hi = 0xffff },
	{ "hold", set_u32, OF_SPAN(hold_us), .hi = 1000000 },
	{ "prefetch", set_u32, OF_SPAN(prefetch), .hi = 256 },
	{ "fault_ring", set_u32, OF_SPAN(fault_ring), .hi = 4096 },
	{ "clear_page", set_flag, OF_SPAN(clear_page) },
	{ "system_map", set_map, .of_span = true },
	{ "policy", set_policy, OF_SPAN(giantvm) },
	{ "read_moves_ownership", set_bit_flag, OF_SPAN(policy), .lo = NUMASPAN_POLICY_READ_MOVES },
	{ "serial_invalidation", set_bit_flag, OF_SPAN(policy), .lo = NUMASPAN_POLICY_SERIAL },
	{ "owner_at_node_0", set_bit_flag, OF_SPAN(policy), .lo = NUMASPAN_POLICY_NODE_0 },
	{ "copies", set_bit_flag, OF_SPAN(policy), .lo = NUMASPAN_POLICY_COPY },
	{ "sleep_waits", set_bit_flag, OF_SPAN(policy), .lo = NUMASPAN_POLICY_SLEEP },
	{ "address", set_address, OF_NODE(addr) },
	{ "memory", set_u64, OF_NODE(memory), .needed = true, .lo = HUGE_SIZE, .hi = MAX_MEMORY,
	  .multiple = HUGE_SIZE, .units = sizes,
	  .want = "a size from 2M to 64T, a multiple of 2M (as 256M, 4G)" },
	{ "cache", set_u64, OF_NODE(cache), .lo = 64 * PAGE_SIZE, .hi = MAX_MEMORY,
	  .multiple = PAGE_SIZE, .units = sizes,
	  .want = "a size from 256K to 64T, a multiple of 4K (as 64M)" },
	{ "cpus", set_u32, OF_NODE(cpus), .needed = true, .lo = 1, .hi = 64 },
	{ "pin", set_pins, .off = 0 },
	{ "rdma", set_rails, .off = 0 },
};

/* What policy = giantvm2020 stands for; keys that are given by themselves stay. */
static const char * const giantvm2020[][2] = {
	{ "read_moves_ownership", "yes" }, { "serial_invalidation", "yes" },
	{ "owner_at_node_0", "yes" }, { "copies", "yes" }, { "sleep_waits", "yes" },
	{ "hold", "1" }, { "prefetch", "0" }, { "clear_page", "no" },
};

static void set_section(struct parser *p, char *name)
{
	const char *e;
	u64 n;

	if (!strcmp(name, "span"))
		n = SPAN;
	else if (strncmp(name, "node ", 5) || !number(name + 5, &n, &e) || *e || n >= MAX_NODES)
		bad("section \"[%.60s]\": expected [span] or [node 0] to [node %d]", name,
		    MAX_NODES - 1);
	if (p->seen[n])
		bad("section \"[%.60s]\": expected once", name);
	p->seen[n] = SEEN;
	p->section = n;
}

static char *trim(char *s)
{
	char *e = s + strlen(s);

	while (e > s && isspace((unsigned char)e[-1]))
		*--e = 0;
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* '#' begins a comment at the start of a line or after a blank. */
static void strip_comment(char *s)
{
	char *h;

	for (h = strchr(s, '#'); h; h = strchr(h + 1, '#')) {
		if (h == s || isspace((unsigned char)h[-1])) {
			*h = 0;
			return;
		}
	}
}

static void set_key(struct parser *p, const char *key, const char *val)
{
	const bool of_span = p->section == SPAN;
	void *base = of_span ? (void *)p->c : &p->c->nodes[p->section];
	u32 i = 0;

	while (i < ARRAY_SIZE(keys) && (keys[i].of_span != of_span || strcmp(key, keys[i].name)))
		i++;
	if (i == ARRAY_SIZE(keys))
		bad("key \"%.60s\": expected a key of %s", key, of_span ? "[span]" : "[node N]");
	if (p->seen[p->section] & BIT(i))
		bad("key \"%.60s\": expected once in its section", key);
	p->seen[p->section] |= BIT(i);
	if (!*val && strcmp(key, "cmdline"))
		bad("%s \"\": expected a value", key);
	keys[i].set(&keys[i], val, base + keys[i].off);
}

static void fill_policy(struct parser *p)
{
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(giantvm2020) && p->c->giantvm; i++)
		for (k = 0; k < ARRAY_SIZE(keys); k++)
			if (!strcmp(keys[k].name, giantvm2020[i][0]) && !(p->seen[SPAN] & BIT(k)))
				keys[k].set(&keys[k], giantvm2020[i][1],
					    (void *)p->c + keys[k].off);
}

static void parse_line(struct parser *p, char *s)
{
	char *eq = strchr(s, '='), *end = s + strlen(s) - 1;

	if (*s == '[') {
		if (*end != ']')
			bad("\"%.60s\": expected [section]", s);
		*end = 0;
		set_section(p, trim(s + 1));
		return;
	}
	if (!eq)
		bad("\"%.60s\": expected key = value", s);
	*eq = 0;
	if (p->section < 0)
		bad("key \"%.60s\": expected a [section] before it", trim(s));
	set_key(p, trim(s), trim(eq + 1));
}

static void parse_file(struct parser *p)
{
	char *line = NULL, *s;
	size_t size = 0;
	ssize_t len;
	FILE *f = fopen(p->c->file, "re");

	if (!f)
		BAD_VALUE("--config", p->c->file, "a readable file (%s)", strerror(errno));
	for (place.file = p->c->file; (len = getline(&line, &size, f)) > 0;) {
		place.line++;
		if (strlen(line) != (size_t)len)
			bad("\"%.60s\": expected text without NUL bytes", line);
		strip_comment(line);
		s = trim(line);
		if (*s)
			parse_line(p, s);
	}
	place.file = NULL;
	if (ferror(f))
		BAD_VALUE("--config", p->c->file, "a readable file (%s)", strerror(errno));
	free(line);
	fclose(f);
}

static void check_needed(const struct parser *p, u32 section, const char *name)
{
	const bool of_span = section == SPAN;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].needed && keys[i].of_span == of_span &&
		    !(p->seen[section] & BIT(i)))
			bad("%s has no \"%s\": expected one", name, keys[i].name);
}

static void check_node(const struct parser *p, struct config *c, u32 i)
{
	struct node_cfg *n = &c->nodes[i];
	char sect[24];
	u32 j;

	snprintf(sect, sizeof(sect), "[node %u]", i);
	check_needed(p, i, sect);
	if (c->nr_nodes > 1 && !n->addr.len)
		bad("%s has no \"address\": expected one", sect);
	if (!n->cache)
		n->cache = 64ULL << 20;
	if (n->nr_pin && n->nr_pin != n->cpus)
		bad("%s pins %u host CPUs: expected %u, one for each of its cpus", sect, n->nr_pin,
		    n->cpus);
	if (n->addr.len && c->transport == NUMASPAN_TCP && n->addr.sa.sa_family == AF_UNIX)
		bad("%s address \"%s\": expected IPV4:PORT or [IPV6]:PORT with transport tcp", sect,
		    n->addr.text);
	if (c->transport == NUMASPAN_RDMA && !n->nr_rdma && n->addr.sa.sa_family == AF_UNIX)
		bad("%s has no \"rdma\": expected one, or an IP address", sect);
	if (c->transport == NUMASPAN_RDMA && !n->nr_rdma && n->addr.len)
		n->rdma[n->nr_rdma++] = n->addr;
	if (n->nr_rdma && c->transport != NUMASPAN_RDMA)
		bad("%s rdma \"%s\": expected none with this transport", sect, n->rdma[0].text);
	if (n->nr_rdma != c->nodes[0].nr_rdma)
		bad("%s has %u \"rdma\" addresses: expected %u, as [node 0]", sect, n->nr_rdma,
		    c->nodes[0].nr_rdma);
	for (j = 0; j < n->nr_rdma; j++)
		if (n->rdma[j].sa.sa_family != c->nodes[0].rdma[j].sa.sa_family)
			bad("%s rdma \"%s\": expected the family of [node 0]'s \"%s\"", sect,
			    n->rdma[j].text, c->nodes[0].rdma[j].text);
	for (j = 0; j < i; j++)
		if (n->addr.len && !strcmp(n->addr.text, c->nodes[j].addr.text))
			bad("%s address \"%s\": expected another than [node %u]'s", sect,
			    n->addr.text, j);
	n->first_page = c->pages;
	n->first_cpu = c->nr_cpus;
	c->pages += n->memory / PAGE_SIZE;
	c->nr_cpus += n->cpus;
	while (1U << c->apic_shift < n->cpus)
		c->apic_shift++;
}

/* Checks what spans several keys, and lays the nodes' pages and CPUs out. */
static void check_whole(const struct parser *p, struct config *c)
{
	u32 i;

	if (!p->seen[SPAN])
		bad("no \"[span]\": expected one");
	check_needed(p, SPAN, "[span]");
	for (i = 0; i < MAX_NODES; i++) {
		if (!p->seen[i])
			continue;
		if (i != c->nr_nodes)
			bad("no \"[node %u]\": expected nodes numbered from 0 without a gap",
			    c->nr_nodes);
		c->nr_nodes++;
	}
	if (!c->nr_nodes)
		bad("no \"[node 0]\": expected at least one node");
	for (i = 0; i < c->nr_nodes; i++)
		check_node(p, c, i);
	if (c->nodes[0].memory < 64ULL << 20)
		bad("[node 0] memory %llu: expected at least 64M, where the kernel boots",
		    c->nodes[0].memory);
	if (c->pages > MAX_MEMORY / PAGE_SIZE)
		bad("memory of all nodes %llu pages: expected at most 64T", c->pages);
	if (c->nr_nodes << c->apic_shift > MAX_CPUS)
		bad("%u nodes of up to %u cpus: expected at most %d APIC ids", c->nr_nodes,
		    1U << c->apic_shift, MAX_CPUS);
}

static void check_self(struct config *c)
{
	struct node_cfg *n = &c->nodes[c->node];
	struct stat st;
	cpu_set_t set;
	u32 i;

	if (sched_getaffinity(0, sizeof(set), &set))
		bad("--node \"%u\": expected to learn the host CPUs (%s)", c->node,
		    strerror(errno));
	for (i = 0; i < n->nr_pin; i++)
		if (!CPU_ISSET(n->pin[i], &set))
			bad("%s: [node %u] pin \"%u\": expected a CPU of this host", c->file,
			    c->node, n->pin[i]);
	if (c->node)
		return;
	if (!c->kernel)
		bad("%s: [span] has no \"kernel\": expected one, or --kernel", c->file);
	close(open_regular("kernel", c->kernel, &st));
	if (!boot_check_kernel(c->kernel))
		BAD_VALUE("kernel", c->kernel, "a 64-bit Linux bzImage (protocol 2.12 or later)");
	if (c->initrd)
		close(open_regular("initrd", c->initrd, &st));
	if (strlen(c->cmdline) > 2047)
		bad("cmdline of %zu characters: expected at most 2047", strlen(c->cmdline));
	if (c->clear_end && !strstr(c->cmdline, "nokaslr"))
		bad("cmdline \"%.100s\": expected nokaslr in it, with a system_map", c->cmdline);
}

static const char help[] =
	"Usage: spanvm --config FILE --node N [OPTION]...\n"
	"Run one node of a span: its vCPUs and its share of the guest's memory.\n\n"
	"  --config FILE    the span's configuration, the same on every host\n"
	"  --node N         which node this process is\n"
	"  --console FILE   the guest's first serial port goes to FILE, - is stdout\n"
	"                   and stdin its input (node 0's; other nodes write nothing)\n"
	"  --data FILE      the guest's second serial port, output only (node 0)\n"
	"  --stats FILE     counters as JSON, at the end and on SIGUSR1\n"
	"  --kernel FILE    instead of the configuration's kernel\n"
	"  --initrd FILE    instead of the configuration's initrd\n"
	"  --append STRING  added to the guest's command line\n"
	"  --check          check the configuration and the host, and exit\n"
	"  --check-host     by itself: what the host has and lacks, and how to mend that\n"
	"  --help           this\n  --version        which spanvm it is\n\n"
	"Exit status: the guest's status byte after its power-off; 1 if the span failed;\n"
	"2 for usage and configuration errors.  See spanvm(8).";

enum opt {
	OPT_CONFIG, OPT_NODE, OPT_CONSOLE, OPT_DATA, OPT_STATS, OPT_KERNEL, OPT_INITRD, OPT_APPEND,
	OPT_CHECK, OPT_CHECK_HOST, OPT_HELP, OPT_VERSION, OPT_NR
};

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "node", required_argument, NULL, OPT_NODE },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "data", required_argument, NULL, OPT_DATA },
	{ "stats", required_argument, NULL, OPT_STATS },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "check-host", no_argument, NULL, OPT_CHECK_HOST },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ }
};

/* Reads the options; each value lands in @arg by its OPT_ index. */
static void parse_options(int argc, char **argv, const char **arg)
{
	int o, at = optind;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (o == ':')
			bad("option \"%s\": expected a value after it", argv[optind - 1]);
		if (o == '?')
			bad("option \"%s\": expected one of those in --help", argv[at]);
		at = optind;
		if (o == OPT_HELP || o == OPT_VERSION)
			exit(puts(o == OPT_HELP ? help : "spanvm " SPANVM_VERSION) < 0);
		if (arg[o])
			bad("option \"--%s\": expected once", options[o].name);
		if (optarg && !*optarg)
			bad("option \"--%s\": expected a value that is not empty", options[o].name);
		arg[o] = optarg ? optarg : "";
	}
	if (optind < argc)
		bad("argument \"%s\": expected options only", argv[optind]);
}

static void check_output(const char *opt, const char *path)
{
	int fd;

	if (!path || !strcmp(path, "-"))
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
	if (fd < 0 && errno != ENXIO)
		bad("%s \"%s\": expected a file that can be written (%s)", opt, path,
		    strerror(errno));
	close(fd);
}

/**
 * config_load - read and check the command line and the configuration file
 * @c: the result
 * @argc: as main() got it
 * @argv: as main() got it
 *
 * Prints one line and exits with 2 on the first error.
 */
void config_load(struct config *c, int argc, char **argv)
{
	static const struct key node = { .name = "--node", .hi = MAX_NODES - 1 };
	const char *arg[OPT_NR] = { NULL }, *append;
	struct parser p = { .c = c, .section = -1 };

	parse_options(argc, argv, arg);
	c->check_host = arg[OPT_CHECK_HOST];
	if (c->check_host && argc > 2)
		bad("option \"--check-host\": expected no other beside it");
	if (c->check_host)
		return;
	if (!arg[OPT_CONFIG])
		bad("no \"--config\": expected --config FILE");
	if (!arg[OPT_NODE])
		bad("no \"--node\": expected --node N");
	c->node = get_number(&node, arg[OPT_NODE]);
	c->file = arg[OPT_CONFIG];
	c->console = arg[OPT_CONSOLE];
	c->data = arg[OPT_DATA];
	c->stats = arg[OPT_STATS];
	c->check = arg[OPT_CHECK];
	c->status_port = -1;
	c->timeout_ms = 10000;
	c->clear_page = true;
	parse_file(&p);
	place.file = c->file;
	place.line = 0;
	fill_policy(&p);
	check_whole(&p, c);
	place.file = NULL;
	if (c->node >= c->nr_nodes)
		BAD_VALUE("--node", arg[OPT_NODE], "a node of %s, 0 to %u", c->file,
			  c->nr_nodes - 1);
	c->kernel = arg[OPT_KERNEL] ?: c->kernel;
	c->initrd = arg[OPT_INITRD] ?: c->initrd;
	append = arg[OPT_APPEND] ?: "";
	if (asprintf(&c->cmdline, "%s%s%s", c->cmdline ?: "", c->cmdline && *append ? " " : "",
		     append) < 0)
		bad("--append of %zu characters: expected less", strlen(append));
	check_self(c);
	check_output("--console", c->console);
	check_output("--data", c->data);
	check_output("--stats", c->stats);
}

/**
 * config_digest - over what all nodes' configurations have to agree on
 * @c: the configuration
 * @digest: the result
 */
void config_digest(const struct config *c, u8 digest[MAC_LEN])
{
	char buf[80 + 40 * MAX_NODES];
	u32 i, n;

	n = sprintf(buf, "%u %d %d %u %u %llx %x %u;", c->transport, c->status_port,
		    c->hold_us, c->timeout_ms, c->nr_nodes, c->clear_start,
		    c->policy & NUMASPAN_POLICY_PROTOCOL, c->fault_ring);
	for (i = 0; i < c->nr_nodes; i++)
		n += sprintf(buf + n, "%llu %u;", c->nodes[i].memory, c->nodes[i].cpus);
	auth_digest(buf, n, digest);
}
