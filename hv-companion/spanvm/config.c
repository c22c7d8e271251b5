// SPDX-License-Identifier: GPL-2.0-only
/*
 * The span's configuration file and the command line.  Everything is checked here,
 * before KVM or a peer is touched: after config_load() every field is in range, node
 * ranges are laid out, and the key is in memory.  Each error is one line that names the
 * value and what was expected, and exit status 2.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spanvm.h"

struct parser {
	struct config *c;
	const char *file;
	u32 line;
	int section;		/* -1 none, MAX_NODES [span], else the node */
	bool have[MAX_NODES + 1];	/* sections */
	u32 seen[MAX_NODES + 1];	/* their keys, by the index in the table */
};

static void bad(const char *fmt, ...) __noreturn __printf(1, 2);

static void bad(const char *fmt, ...)
{
	va_list ap;

	fputs("spanvm: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* Where a value came from, for the message: "FILE:LINE: key" or "--option". */
static const char *where(const struct parser *p, const char *key)
{
	static char buf[512];

	if (p)
		snprintf(buf, sizeof(buf), "%.300s:%u: %.60s", p->file, p->line, key);
	else
		snprintf(buf, sizeof(buf), "%.60s", key);
	return buf;
}

#define BAD_VALUE(p, key, val, want, ...) \
	bad("%s \"%.100s\": expected " want, where(p, key), val, ##__VA_ARGS__)

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

static u64 get_number(const struct parser *p, const char *key, const char *val, u64 lo, u64 hi)
{
	const char *e;
	u64 n;

	if (!number(val, &n, &e) || *e || n < lo || n > hi)
		BAD_VALUE(p, key, val, "a number from %llu to %llu", lo, hi);
	return n;
}

/* What a key's value has to be, and the field of struct config or struct node_cfg it goes to. */
struct key {
	const char *name;
	void (*set)(const struct parser *p, const struct key *k, const char *val, void *at);
	size_t off;			/* of the field */
	u64 lo, hi;			/* numbers; sizes are at least lo and multiples of hi */
	const char *want;
	bool needed;
};

static void set_u64(const struct parser *p, const struct key *k, const char *val, void *at)
{
	*(u64 *)at = get_number(p, k->name, val, k->lo, k->hi);
}

static void set_u32(const struct parser *p, const struct key *k, const char *val, void *at)
{
	*(u32 *)at = get_number(p, k->name, val, k->lo, k->hi);
}

static void set_port(const struct parser *p, const struct key *k, const char *val, void *at)
{
	set_u32(p, k, val, at);
	if (port_is_taken(*(u32 *)at))
		BAD_VALUE(p, k->name, val, "a port that no device has");
}

static void set_string(const struct parser *p, const struct key *k, const char *val, void *at)
{
	(void)p;
	(void)k;
	*(char **)at = strdup(val);
}

static void set_size(const struct parser *p, const struct key *k, const char *val, void *at)
{
	static const char units[] = "KMGT";
	const char *e = "", *u = NULL;
	u32 shift = 0;
	u64 n;
	bool ok = number(val, &n, &e);

	if (*e) {
		u = strchr(units, toupper((unsigned char)*e));
		ok = ok && u && !e[1];
		shift = ok ? 10 * (u - units + 1) : 0;
	}
	if (!ok || n > (1ULL << 46) >> shift || (n << shift) < k->lo || (n << shift) % k->hi)
		BAD_VALUE(p, k->name, val, "%s", k->want);
	*(u64 *)at = n << shift;
}

static void set_duration(const struct parser *p, const struct key *k, const char *val, void *at)
{
	const char *e;
	u64 n, ms = 0;
	bool ok = number(val, &n, &e) && n <= 600000;

	if (ok && !strcmp(e, "s"))
		ms = n * 1000;
	else if (ok && !strcmp(e, "ms"))
		ms = n;
	if (ms < 100 || ms > 600000)
		BAD_VALUE(p, k->name, val, "a time from 100ms to 600s");
	*(u32 *)at = ms;
}

static void set_address(const struct parser *p, const struct key *k, const char *val, void *at)
{
	struct sv_addr *a = at;
	char host[64];
	const char *colon = strrchr(val, ':'), *e;
	u64 port;
	size_t n;

	memset(a, 0, sizeof(*a));
	if (strlen(val) >= sizeof(a->text))
		BAD_VALUE(p, k->name, val, "at most %zu characters", sizeof(a->text) - 1);
	memcpy(a->text, val, strlen(val) + 1);
	if (!strncmp(val, "unix:", 5)) {
		if (val[5] != '/' || strlen(val + 5) >= sizeof(a->un.sun_path))
			BAD_VALUE(p, k->name, val, "unix: and a path of below %zu characters",
				  sizeof(a->un.sun_path));
		a->un.sun_family = AF_UNIX;
		memcpy(a->un.sun_path, val + 5, strlen(val + 5) + 1);
		a->len = sizeof(a->un);
		return;
	}
	n = colon ? (size_t)(colon - val) : 0;
	if (!n || n >= sizeof(host) || !number(colon + 1, &port, &e) || *e || !port || port > 65535)
		BAD_VALUE(p, k->name, val, "IPV4:PORT, [IPV6]:PORT or unix:/PATH");
	memcpy(host, val, n);
	host[n] = 0;
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = 0;
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
		a->len = sizeof(a->in6);
		if (inet_pton(AF_INET6, host + 1, &a->in6.sin6_addr) == 1)
			return;
	} else {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
		a->len = sizeof(a->in);
		if (inet_pton(AF_INET, host, &a->in.sin_addr) == 1)
			return;
	}
	BAD_VALUE(p, k->name, val, "IPV4:PORT, [IPV6]:PORT or unix:/PATH");
}

static void set_pins(const struct parser *p, const struct key *k, const char *val, void *at)
{
	struct node_cfg *n = at;
	const char *s = val;
	u64 cpu;
	u32 i;

	for (n->nr_pin = 0; n->nr_pin < MAX_CPUS; s++) {
		if (!number(s, &cpu, &s) || cpu >= CPU_SETSIZE || (*s && *s != ','))
			BAD_VALUE(p, k->name, val, "host CPU numbers separated by commas");
		for (i = 0; i < n->nr_pin; i++)
			if (n->pin[i] == cpu)
				BAD_VALUE(p, k->name, val, "each host CPU once");
		n->pin[n->nr_pin++] = cpu;
		if (!*s)
			return;
	}
	BAD_VALUE(p, k->name, val, "at most %d host CPUs", MAX_CPUS);
}

static void set_key_file(const struct parser *p, const struct key *k, const char *path,
			 void *at)
{
	struct config *c = at;
	struct stat st;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		BAD_VALUE(p, k->name, path, "a readable key file (%s)", strerror(errno));
	if (!S_ISREG(st.st_mode))
		BAD_VALUE(p, k->name, path, "a regular file");
	if (st.st_mode & 077)
		BAD_VALUE(p, k->name, path, "mode 0600, not %04o", st.st_mode & 07777);
	if (st.st_size < 32 || st.st_size > (off_t)sizeof(c->key))
		BAD_VALUE(p, k->name, path, "32 to 4096 bytes in it, not %lld",
			  (long long)st.st_size);
	n = read(fd, c->key, sizeof(c->key));
	if (n != st.st_size)
		BAD_VALUE(p, k->name, path, "%lld readable bytes, not %zd",
			  (long long)st.st_size, n);
	c->key_len = n;
	close(fd);
}

static void set_transport(const struct parser *p, const struct key *k, const char *val,
			  void *at)
{
	if (strcmp(val, "tcp") && strcmp(val, "loopback"))
		BAD_VALUE(p, k->name, val, "tcp or loopback");
	*(u32 *)at = *val == 't' ? NUMASPAN_TCP : NUMASPAN_LOOPBACK;
}

#define SPAN(f)	offsetof(struct config, f)
#define NODE(f)	offsetof(struct node_cfg, f)

static const struct key span_keys[] = {
	{ "id", set_u64, SPAN(span_id), 1, UINT64_MAX, NULL, true },
	{ "key", set_key_file, 0, 0, 0, NULL, true },
	{ "transport", set_transport, SPAN(transport), 0, 0, NULL, true },
	{ "timeout", set_duration, SPAN(timeout_ms), 0, 0, NULL, false },
	{ "kernel", set_string, SPAN(kernel), 0, 0, NULL, false },
	{ "initrd", set_string, SPAN(initrd), 0, 0, NULL, false },
	{ "cmdline", set_string, SPAN(cmdline), 0, 0, NULL, false },
	{ "status_port", set_port, SPAN(status_port), 1, 0xffff, NULL, false },
	{ "hold", set_u32, SPAN(hold_us), 0, 1000000, NULL, false },
};

static const struct key node_keys[] = {
	{ "address", set_address, NODE(addr), 0, 0, NULL, false },
	{ "memory", set_size, NODE(memory), HUGE_SIZE, HUGE_SIZE,
	  "a size from 2M to 64T, a multiple of 2M (as 256M, 4G)", true },
	{ "cache", set_size, NODE(cache), 64 * PAGE_SIZE, PAGE_SIZE,
	  "a size from 256K to 64T, a multiple of 4K (as 64M)", false },
	{ "cpus", set_u32, NODE(cpus), 1, 64, NULL, true },
	{ "pin", set_pins, 0, 0, 0, NULL, false },
};

static void set_section(struct parser *p, char *name)
{
	const char *e;
	u64 n;

	if (!strcmp(name, "span"))
		n = MAX_NODES;
	else if (strncmp(name, "node ", 5) || !number(name + 5, &n, &e) || *e || n >= MAX_NODES)
		bad("%s:%u: section \"[%.60s]\": expected [span] or [node 0] to [node %d]", p->file,
		    p->line, name, MAX_NODES - 1);
	if (p->have[n])
		bad("%s:%u: section \"[%.60s]\": expected once", p->file, p->line, name);
	p->have[n] = true;
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

static void set_key(struct parser *p, char *key, char *val)
{
	const bool span = p->section == MAX_NODES;
	const struct key *k = span ? span_keys : node_keys;
	const struct key *end = k + (span ? ARRAY_SIZE(span_keys) : ARRAY_SIZE(node_keys));
	void *base = span ? (void *)p->c : &p->c->nodes[p->section];
	u32 bit = 1;

	for (; k < end && strcmp(key, k->name); k++)
		bit <<= 1;
	if (k == end)
		bad("%s:%u: key \"%.60s\": expected a key of %s", p->file, p->line, key,
		    span ? "[span]" : "[node N]");
	if (p->seen[p->section] & bit)
		bad("%s:%u: key \"%.60s\": expected once in its section", p->file, p->line, key);
	p->seen[p->section] |= bit;
	if (!*val && strcmp(key, "cmdline"))
		bad("%s:%u: %s \"\": expected a value", p->file, p->line, key);
	k->set(p, k, val, base + k->off);
}

static void parse_file(struct parser *p)
{
	char *line = NULL, *s, *eq;
	size_t size = 0;
	ssize_t len;
	struct stat st;
	FILE *f;

	f = fopen(p->file, "re");
	if (!f || fstat(fileno(f), &st))
		bad("--config \"%s\": expected a readable file (%s)", p->file, strerror(errno));
	if (S_ISDIR(st.st_mode))
		bad("--config \"%s\": expected a file, not a directory", p->file);
	while ((len = getline(&line, &size, f)) > 0) {
		p->line++;
		if (strlen(line) != (size_t)len)
			bad("%s:%u: \"%.60s\": expected text without NUL bytes", p->file, p->line,
			    line);
		strip_comment(line);
		s = trim(line);
		if (!*s)
			continue;
		if (*s == '[') {
			if (s[strlen(s) - 1] != ']')
				bad("%s:%u: \"%.60s\": expected [section]", p->file, p->line, s);
			s[strlen(s) - 1] = 0;
			set_section(p, trim(s + 1));
			continue;
		}
		eq = strchr(s, '=');
		if (!eq)
			bad("%s:%u: \"%.60s\": expected key = value", p->file, p->line, s);
		*eq = 0;
		if (p->section < 0)
			bad("%s:%u: key \"%.60s\": expected a [section] before it", p->file,
			    p->line, trim(s));
		set_key(p, trim(s), trim(eq + 1));
	}
	if (ferror(f))
		bad("--config \"%s\": expected a readable file (%s)", p->file, strerror(errno));
	free(line);
	fclose(f);
}

static void check_needed(const struct parser *p, u32 section, const char *name)
{
	const bool span = section == MAX_NODES;
	const struct key *k = span ? span_keys : node_keys;
	u32 i, n = span ? ARRAY_SIZE(span_keys) : ARRAY_SIZE(node_keys);

	for (i = 0; i < n; i++)
		if (k[i].needed && !(p->seen[section] & BIT(i)))
			bad("%s: %s has no \"%s\": expected one", p->file, name, k[i].name);
}

static void check_node(const struct parser *p, struct config *c, u32 i)
{
	struct node_cfg *n = &c->nodes[i];
	char sect[24];
	u32 j;

	snprintf(sect, sizeof(sect), "[node %u]", i);
	check_needed(p, i, sect);
	if (c->nr_nodes > 1 && !n->addr.len)
		bad("%s: %s has no \"address\": expected one", p->file, sect);
	if (!n->cache)
		n->cache = 64ULL << 20;
	if (n->nr_pin && n->nr_pin != n->cpus)
		bad("%s: %s pins %u host CPUs: expected %u, one for each of its cpus", p->file,
		    sect, n->nr_pin, n->cpus);
	if (n->addr.len && c->transport == NUMASPAN_TCP && n->addr.sa.sa_family == AF_UNIX)
		bad("%s: %s address \"%s\": expected IPV4:PORT or [IPV6]:PORT with transport tcp",
		    p->file, sect, n->addr.text);
	for (j = 0; j < i; j++)
		if (n->addr.len && !strcmp(n->addr.text, c->nodes[j].addr.text))
			bad("%s: %s address \"%s\": expected another than [node %u]'s", p->file,
			    sect, n->addr.text, j);
	n->first_page = c->pages;
	n->pages = n->memory / PAGE_SIZE;
	n->first_cpu = c->nr_cpus;
	c->pages += n->pages;
	c->nr_cpus += n->cpus;
}

/* Checks what spans several keys, and lays the nodes' pages and CPUs out. */
static void check_whole(const struct parser *p, struct config *c)
{
	u32 i, most = 1;

	if (!p->have[MAX_NODES])
		bad("%s: no \"[span]\": expected one", p->file);
	check_needed(p, MAX_NODES, "[span]");
	for (i = 0; i < MAX_NODES; i++) {
		if (!p->have[i])
			continue;
		if (i != c->nr_nodes)
			bad("%s: no \"[node %u]\": expected nodes numbered from 0 without a gap",
			    p->file, c->nr_nodes);
		c->nr_nodes++;
	}
	if (!c->nr_nodes)
		bad("%s: no \"[node 0]\": expected at least one node", p->file);
	for (i = 0; i < c->nr_nodes; i++)
		check_node(p, c, i);
	if (c->nodes[0].memory < 64ULL << 20)
		bad("%s: [node 0] memory %llu: expected at least 64M, where the kernel boots",
		    p->file, c->nodes[0].memory);
	if (c->pages > (1ULL << 46) / PAGE_SIZE)
		bad("%s: memory of all nodes %llu pages: expected at most 64T", p->file,
		    c->pages);
	for (i = 0; i < c->nr_nodes; i++)
		if (c->nodes[i].cpus > most)
			most = c->nodes[i].cpus;
	while (1U << c->apic_shift < most)
		c->apic_shift++;
	if (c->nr_nodes << c->apic_shift > MAX_CPUS)
		bad("%s: %u nodes of up to %u cpus: expected at most %d APIC ids", p->file,
		    c->nr_nodes, most, MAX_CPUS);
}

static void check_readable(const char *opt, const char *path)
{
	struct stat st;

	if (access(path, R_OK) || stat(path, &st))
		bad("%s \"%s\": expected a readable file (%s)", opt, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		bad("%s \"%s\": expected a regular file", opt, path);
}

static void check_self(struct config *c)
{
	struct node_cfg *n = &c->nodes[c->node];
	cpu_set_t set;
	u32 i;

	if (c->node >= c->nr_nodes)
		bad("--node \"%u\": expected a node of %s, 0 to %u", c->node, c->file,
		    c->nr_nodes - 1);
	CPU_ZERO(&set);
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
	check_readable("kernel", c->kernel);
	boot_check_kernel(c->kernel);
	if (c->initrd)
		check_readable("initrd", c->initrd);
	if (strlen(c->cmdline) > 2047)
		bad("cmdline of %zu characters: expected at most 2047", strlen(c->cmdline));
}

static void help_text(void)
{
	puts("Usage: spanvm --config FILE --node N [OPTION]...\n"
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
	     "  --help           this\n  --version        which spanvm it is\n\n"
	     "Exit status: the guest's status byte after its power-off; 1 if the span failed;\n"
	     "2 for usage and configuration errors.  See spanvm(8).");
	exit(0);
}

enum opt {
	OPT_CONFIG, OPT_NODE, OPT_CONSOLE, OPT_DATA, OPT_STATS, OPT_KERNEL, OPT_INITRD, OPT_APPEND,
	OPT_CHECK, OPT_HELP, OPT_VERSION, OPT_NR
};

#define OPTION(_name, _opt, _arg) \
	{ .name = _name, .has_arg = _arg, .val = _opt }
static const struct option options[] = {
	OPTION("config", OPT_CONFIG, required_argument),
	OPTION("node", OPT_NODE, required_argument),
	OPTION("console", OPT_CONSOLE, required_argument),
	OPTION("data", OPT_DATA, required_argument),
	OPTION("stats", OPT_STATS, required_argument),
	OPTION("kernel", OPT_KERNEL, required_argument),
	OPTION("initrd", OPT_INITRD, required_argument),
	OPTION("append", OPT_APPEND, required_argument),
	OPTION("check", OPT_CHECK, no_argument),
	OPTION("help", OPT_HELP, no_argument),
	OPTION("version", OPT_VERSION, no_argument),
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
		if (o == OPT_HELP)
			help_text();
		if (o == OPT_VERSION) {
			puts("spanvm " SPANVM_VERSION);
			exit(0);
		}
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
	if (fd >= 0)
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
	const char *arg[OPT_NR] = { NULL };
	struct parser p = { .c = c, .section = -1 };
	char *s;

	parse_options(argc, argv, arg);
	if (!arg[OPT_CONFIG])
		bad("no \"--config\": expected --config FILE");
	if (!arg[OPT_NODE])
		bad("no \"--node\": expected --node N");
	c->node = get_number(NULL, "--node", arg[OPT_NODE], 0, MAX_NODES - 1);
	c->file = arg[OPT_CONFIG];
	c->console = arg[OPT_CONSOLE];
	c->data = arg[OPT_DATA];
	c->stats = arg[OPT_STATS];
	c->check = arg[OPT_CHECK];
	c->status_port = -1;
	c->timeout_ms = 10000;
	p.file = c->file;
	parse_file(&p);
	check_whole(&p, c);
	if (arg[OPT_KERNEL])
		c->kernel = strdup(arg[OPT_KERNEL]);
	if (arg[OPT_INITRD])
		c->initrd = strdup(arg[OPT_INITRD]);
	if (asprintf(&s, "%s%s%s", c->cmdline ? c->cmdline : "",
		     c->cmdline && arg[OPT_APPEND] ? " " : "",
		     arg[OPT_APPEND] ? arg[OPT_APPEND] : "") < 0)
		bad("--append of %zu characters: expected less", strlen(arg[OPT_APPEND]));
	free(c->cmdline);
	c->cmdline = s;
	check_self(c);
	check_output("--console", c->console);
	check_output("--data", c->data);
	check_output("--stats", c->stats);
}

/**
 * config_digest_input - what all nodes' configurations have to agree on, as bytes
 * @c: the configuration
 * @buf: where
 * @len: how many bytes
 * @size: of @buf
 */
void config_digest_input(const struct config *c, u8 *buf, size_t *len, size_t size)
{
	size_t n = 0;
	u32 i;

	n += snprintf((char *)buf, size, "%u %d %d %u %u;", c->transport, c->status_port,
		      c->hold_us, c->timeout_ms, c->nr_nodes);
	for (i = 0; i < c->nr_nodes && n < size; i++)
		n += snprintf((char *)buf + n, size - n, "%llu %u;",
			      c->nodes[i].memory, c->nodes[i].cpus);
	*len = n < size ? n : size;
}
