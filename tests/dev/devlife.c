// SPDX-License-Identifier: GPL-2.0-only
/*
 * What may happen to a node besides work: bad input, calls in the wrong order, users that die,
 * peers that fall silent, close, or send what no node would.
 *
 * Here the peer of a TCP node is often this program, which speaks the wire format itself and gets
 * it wrong on purpose.  Each test ends with a span that works, or with a node that has stopped for
 * the reason that the test names; the host's log must stay free of complaints, which whoever runs
 * this looks at.  --messages sets how many corrupted messages are sent, --disk the device that
 * is read with O_DIRECT; --no-drain makes the module let go of pages that are in use.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "span.h"
#include "../../hv-companion/numaspan/wire.h"

#define PAGES		64
#define WAIT_MS		20000	/* bound on what should happen at once */

static long nr_messages = 100000;
static const char *disk;
static unsigned int unsafe;
static int last_transport = NUMASPAN_TCP;	/* RDMA needs a device */
static u64 seed;

/* ---- accesses that may fail ---- */

static __thread sigjmp_buf escape;
static __thread bool armed;

static void on_fault(int sig)
{
	if (armed)
		siglongjmp(escape, sig);
	signal(sig, SIG_DFL);
}

/* 0, or the signal that the access got. */
static int try_load(const char *p, u64 *v)
{
	int sig = sigsetjmp(escape, 1);

	if (!sig) {
		armed = true;
		*v = load64(p);
	}
	armed = false;
	return sig;
}

static int try_store(char *p, u64 v)
{
	int sig = sigsetjmp(escape, 1);

	if (!sig) {
		armed = true;
		store64(p, v);
	}
	armed = false;
	return sig;
}

static void catch_faults(void)
{
	struct sigaction sa = { .sa_handler = on_fault };

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

static const char *error_name(int err)
{
	return err ? strerror(err) : "success";
}

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? errno : 0;
}

static bool expect(const char *what, int got, int want)
{
	if (tap_ok(got == want, "%s: %s", what, error_name(got)))
		return true;
	tap_diag("expected: %s", error_name(want));
	return false;
}

/* ---- arguments of NUMASPAN_CREATE ---- */

#define AT(f)	offsetof(struct numaspan_create, f)

static const struct field {
	const char *name;
	size_t at, size;
} fields[] = {
	{ "abi", AT(abi), 4 },
	{ "size", AT(size), 4 },
	{ "node", AT(node), 2 },
	{ "nr_nodes", AT(nr_nodes), 2 },
	{ "transport", AT(transport), 4 },
	{ "timeout_ms", AT(timeout_ms), 4 },
	{ "hold_us", AT(hold_us), 4 },
	{ "unsafe", AT(unsafe), 4 },
	{ "cache_pages", AT(cache_pages), 8 },
	{ "home_pages[0]", AT(home_pages[0]), 8 },
	{ "home_pages[1]", AT(home_pages[1]), 8 },
	{ "home_pages[2]", AT(home_pages[2]), 8 },
	{ "home_pages[63]", AT(home_pages[63]), 8 },
	{ "reserved[0]", AT(reserved[0]), 8 },
	{ "prefetch", AT(prefetch), 4 },
	{ "policy", AT(policy), 4 },
	{ "reserved[2]", AT(reserved[2]), 8 },
};

static const struct {
	const char *field;
	u64 value;
	int err;
} bad_create[] = {
	{ "abi", 0, EINVAL },
	{ "abi", NUMASPAN_ABI + 1, EINVAL },
	{ "size", 0, EINVAL },
	{ "size", sizeof(struct numaspan_create) - 1, EINVAL },
	{ "size", sizeof(struct numaspan_create) + 8, EINVAL },
	{ "node", 2, EINVAL },
	{ "node", 65535, EINVAL },
	{ "nr_nodes", 0, EINVAL },
	{ "nr_nodes", 65, EINVAL },
	{ "nr_nodes", 65535, EINVAL },
	{ "nr_nodes", 3, EINVAL },	/* node 2 would have no pages */
	{ "transport", 3, EINVAL },
	{ "transport", ~0U, EINVAL },
	{ "timeout_ms", 0, EINVAL },
	{ "timeout_ms", 99, EINVAL },
	{ "timeout_ms", 600001, EINVAL },
	{ "timeout_ms", ~0U, EINVAL },
	{ "hold_us", ~0U, EINVAL },
	{ "unsafe", 8, EINVAL },
	{ "unsafe", 0x80000000U, EINVAL },
	{ "cache_pages", 0, EINVAL },
	{ "cache_pages", 63, EINVAL },
	{ "cache_pages", ~0ULL, EINVAL },
	{ "home_pages[0]", 0, EINVAL },
	{ "home_pages[1]", 0, EINVAL },
	{ "home_pages[2]", 1, EINVAL },
	{ "home_pages[63]", 1, EINVAL },
	{ "home_pages[0]", ~0ULL, EINVAL },
	{ "home_pages[1]", ~0ULL - PAGES + 1, EINVAL },	/* the sum would be 0 */
	{ "home_pages[0]", 1ULL << 51, EINVAL },
	{ "home_pages[0]", 1ULL << 50, ENOMEM },
	{ "home_pages[1]", 1ULL << 40, ENOMEM },
	{ "reserved[0]", 1, EINVAL },
	{ "prefetch", 257, EINVAL },
	{ "prefetch", ~0U, EINVAL },
	{ "policy", NUMASPAN_POLICY_ALL + 1, EINVAL },
	{ "policy", ~0U, EINVAL },
	{ "reserved[2]", 1ULL << 63, EINVAL },
};

static const struct field *field_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!strcmp(fields[i].name, name))
			return &fields[i];
	tap_bail("no field is called %s", name);
}

static void test_create(void)
{
	struct numaspan_create c;
	char unsafe_ok = 'N';
	char name[96];
	const struct field *field;
	size_t i;
	int fd, f;

	for (i = 0; i < sizeof(bad_create) / sizeof(*bad_create); i++) {
		span_args(&c, 2, PAGES, 64);
		field = field_of(bad_create[i].field);
		memcpy((char *)&c + field->at, &bad_create[i].value, field->size);
		fd = span_open();
		snprintf(name, sizeof(name), "create with %s = %llu", field->name,
			 bad_create[i].value);
		expect(name, do_ioctl(fd, NUMASPAN_CREATE, &c), bad_create[i].err);
		/* A refused one leaves the node as it was. */
		span_args(&c, 2, PAGES, 64);
		if (do_ioctl(fd, NUMASPAN_CREATE, &c))
			tap_ok(false, "create after it: %s", strerror(errno));
		close(fd);
	}
	f = open("/sys/module/numaspan/parameters/unsafe_tests", O_RDONLY);
	if (f < 0 || read(f, &unsafe_ok, 1) != 1)
		tap_bail("/sys/module/numaspan/parameters/unsafe_tests: %s", strerror(errno));
	close(f);
	span_args(&c, 2, PAGES, 64);
	c.unsafe = NUMASPAN_UNSAFE_NO_DRAIN;
	fd = span_open();
	expect(unsafe_ok == 'Y' ? "create with unsafe flags, unsafe_tests=1" :
	       "create with unsafe flags, unsafe_tests=0", do_ioctl(fd, NUMASPAN_CREATE, &c),
	       unsafe_ok == 'Y' ? 0 : EPERM);
	close(fd);
	fd = span_open();
	expect("create from a bad address", do_ioctl(fd, NUMASPAN_CREATE, (void *)8), EFAULT);
	close(fd);
	span_args(&c, NUMASPAN_MAX_NODES, 1, 64);
	c.node = NUMASPAN_MAX_NODES - 1;
	fd = span_open();
	expect("create the last of 64 nodes", do_ioctl(fd, NUMASPAN_CREATE, &c), 0);
	close(fd);
}

/* ---- calls in the wrong state, calls with wrong arguments ---- */

static int mmap_error(int fd, size_t pages, int flags, off_t at)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, at * PAGE);

	if (p == MAP_FAILED)
		return errno;
	munmap(p, pages * PAGE);
	return 0;
}

static void expect_state(int fd, unsigned int state, const char *when)
{
	struct numaspan_status st;

	span_status(fd, &st);
	tap_ok(st.state == state, "state %s: %u", when, st.state);
}

static void test_states(void)
{
	struct numaspan_connect conn = { .node = 1, .fd = -1 };
	struct numaspan_clear_code code = { .start = 4096, .end = 8192 };
	struct numaspan_clear_code long_code = { .end = 4097 }, backward = { .start = 2, .end = 1 };
	struct numaspan_clear_code reserved = { .reserved[1] = 1 }, none = { };
	struct span s = { };
	struct numaspan_stats st = { };
	char byte = 0;
	int fd = span_open();

	expect_state(fd, NUMASPAN_NEW, "after open");
	expect("connect before create", do_ioctl(fd, NUMASPAN_CONNECT, &conn), ENXIO);
	expect("start before create", do_ioctl(fd, NUMASPAN_START, NULL), ENXIO);
	expect("stop before create", do_ioctl(fd, NUMASPAN_STOP, NULL), ENXIO);
	expect("mmap before create", mmap_error(fd, 1, MAP_SHARED, 0), ENXIO);
	st.abi = NUMASPAN_ABI;
	st.size = sizeof(st);
	expect("stats before create", do_ioctl(fd, NUMASPAN_STATS, &st), ENXIO);
	expect("clear_code before create", do_ioctl(fd, NUMASPAN_CLEAR_CODE, &code), ENXIO);
	expect("an unknown ioctl", do_ioctl(fd, _IO(NUMASPAN_MAGIC_IOC, 99), NULL), ENOTTY);
	expect("status to a bad address", do_ioctl(fd, NUMASPAN_STATUS, (void *)8), EFAULT);
	expect("read of the device", read(fd, &byte, 1) < 0 ? errno : 0, EINVAL);
	expect("write to the device", write(fd, &byte, 1) < 0 ? errno : 0, EINVAL);
	close(fd);

	span_args(&s.args, 2, PAGES, 64);
	fd = span_create(&s.args, 0);
	expect_state(fd, NUMASPAN_CREATED, "after create");
	expect("create twice", do_ioctl(fd, NUMASPAN_CREATE, &s.args), EBUSY);
	expect("stop before start", do_ioctl(fd, NUMASPAN_STOP, NULL), ENXIO);
	expect("mmap before start", mmap_error(fd, 1, MAP_SHARED, 0), ENXIO);
	expect("connect in loopback", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EOPNOTSUPP);
	close(fd);

	span_args(&s.args, 2, PAGES, 64);
	span_up(&s);
	fd = s.fd[0];
	expect_state(fd, NUMASPAN_RUNNING, "after start");
	expect("create while running", do_ioctl(fd, NUMASPAN_CREATE, &s.args), EBUSY);
	expect("connect while running", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EBUSY);
	expect("start twice", do_ioctl(fd, NUMASPAN_START, NULL), EBUSY);
	expect("a private mapping", mmap_error(fd, 1, MAP_PRIVATE, 0), EINVAL);
	expect("a mapping one page too long", mmap_error(fd, 2 * PAGES + 1, MAP_SHARED, 0), ENXIO);
	expect("a mapping past the end", mmap_error(fd, 1, MAP_SHARED, 2 * PAGES), ENXIO);
	expect("a mapping of 2^40 pages", mmap_error(fd, 1UL << 30, MAP_SHARED, 0), ENXIO);
	expect("a mapping of the last page", mmap_error(fd, 1, MAP_SHARED, 2 * PAGES - 1), 0);
	st.size = sizeof(st) - 8;
	expect("stats with a wrong size", do_ioctl(fd, NUMASPAN_STATS, &st), EINVAL);
	st.size = sizeof(st);
	st.abi = 99;
	expect("stats with a wrong abi", do_ioctl(fd, NUMASPAN_STATS, &st), EINVAL);
	expect("stats from a bad address", do_ioctl(fd, NUMASPAN_STATS, (void *)8), EFAULT);
	expect("clear_code of 4096 bytes", do_ioctl(fd, NUMASPAN_CLEAR_CODE, &code), 0);
	expect("clear_code of 4097 bytes", do_ioctl(fd, NUMASPAN_CLEAR_CODE, &long_code), EINVAL);
	expect("clear_code that ends too early", do_ioctl(fd, NUMASPAN_CLEAR_CODE, &backward),
	       EINVAL);
	expect("clear_code with a reserved field", do_ioctl(fd, NUMASPAN_CLEAR_CODE, &reserved),
	       EINVAL);
	expect("clear_code from a bad address", do_ioctl(fd, NUMASPAN_CLEAR_CODE, (void *)8),
	       EFAULT);
	expect("no clear_code", do_ioctl(fd, NUMASPAN_CLEAR_CODE, &none), 0);
	store64(s.map[1], 7);
	tap_ok(load64(s.map[0]) == 7, "after all these the span works");

	expect("stop", do_ioctl(fd, NUMASPAN_STOP, NULL), 0);
	expect_state(fd, NUMASPAN_STOPPED, "after stop");
	expect("stop twice", do_ioctl(fd, NUMASPAN_STOP, NULL), 0);
	expect("create after stop", do_ioctl(fd, NUMASPAN_CREATE, &s.args), EBUSY);
	expect("start after stop", do_ioctl(fd, NUMASPAN_START, NULL), EBUSY);
	expect("mmap after stop", mmap_error(fd, 1, MAP_SHARED, 0), ENXIO);
	span_down(&s);
}

/* ---- RDMA ---- */

static const struct {
	const char *name;
	int family, port, remote_family, remote_port;
	const char *ip;
	unsigned int flags;
	int err;
} bad_rdma[] = {
	{ "an address of no family", AF_UNSPEC, 7471, AF_INET, 7471, NULL, 0, EINVAL },
	{ "a unix address", AF_UNIX, 7471, AF_UNIX, 7471, NULL, 0, EINVAL },
	{ "two families", AF_INET, 7471, AF_INET6, 7471, NULL, 0, EINVAL },
	{ "no port to listen at", AF_INET, 0, AF_INET, 7471, NULL, 0, EINVAL },
	{ "no port to connect to", AF_INET, 0, AF_INET, 0, NULL, NUMASPAN_RDMA_DIAL, EINVAL },
	{ "a port to connect from", AF_INET, 7471, AF_INET, 7471, NULL, NUMASPAN_RDMA_DIAL,
	  EINVAL },
	{ "an unknown flag", AF_INET, 7471, AF_INET, 7471, NULL, 2, EINVAL },
	{ "an address of another host", AF_INET, 7471, AF_INET, 7471, "192.0.2.1", 0,
	  EADDRNOTAVAIL },
	{ "an address without RDMA", AF_INET, 7471, AF_INET, 7471, "127.0.0.1", 0, ENODEV },
	{ "any address", AF_INET, 7471, AF_INET, 7471, "0.0.0.0", 0, ENODEV },
};

static void put_sockaddr(void *to, int family, const char *ip, int port)
{
	struct sockaddr_in a = { .sin_family = family, .sin_port = htons(port) };

	inet_pton(AF_INET, ip, &a.sin_addr);
	memcpy(to, &a, sizeof(a));
}

static void test_rdma_connect(void)
{
	struct numaspan_connect_rdma c;
	struct span s = { };
	char name[80];
	size_t i;
	int fd;

	span_args(&s.args, 2, PAGES, 64);
	s.args.transport = NUMASPAN_RDMA;
	fd = span_create(&s.args, 0);
	expect("rdma: start without connection", do_ioctl(fd, NUMASPAN_START, NULL), ENOTCONN);
	close(fd);
	fd = span_create(&s.args, 0);
	for (i = 0; i < sizeof(bad_rdma) / sizeof(*bad_rdma); i++) {
		const char *ip = bad_rdma[i].ip ?: span_rdma_ip();

		memset(&c, 0, sizeof(c));
		c.node = 1;
		c.flags = bad_rdma[i].flags;
		put_sockaddr(c.local, bad_rdma[i].family, ip, bad_rdma[i].port);
		put_sockaddr(c.remote, bad_rdma[i].remote_family, ip, bad_rdma[i].remote_port);
		snprintf(name, sizeof(name), "rdma: connect with %s", bad_rdma[i].name);
		expect(name, do_ioctl(fd, NUMASPAN_CONNECT_RDMA, &c), bad_rdma[i].err);
		close(fd);
		fd = span_create(&s.args, 0);
	}
	put_sockaddr(c.local, AF_INET, span_rdma_ip(), 7471);
	put_sockaddr(c.remote, AF_INET, span_rdma_ip(), 7472);
	c.node = 0;
	expect("rdma: connect to itself", do_ioctl(fd, NUMASPAN_CONNECT_RDMA, &c), EINVAL);
	c.node = 1;
	c.reserved[0] = 1;
	expect("rdma: a reserved field", do_ioctl(fd, NUMASPAN_CONNECT_RDMA, &c), EINVAL);
	c.reserved[0] = 0;
	expect("rdma: from a bad address", do_ioctl(fd, NUMASPAN_CONNECT_RDMA, (void *)8), EFAULT);
	for (i = 0; i < 8; i++)
		if (do_ioctl(fd, NUMASPAN_CONNECT_RDMA, &c))
			break;
	tap_ok(i == 8, "rdma: eight rails: %zu", i);
	expect("rdma: a ninth rail", do_ioctl(fd, NUMASPAN_CONNECT_RDMA, &c), ENOSPC);
	close(fd);

	s.args.transport = NUMASPAN_TCP;
	fd = span_create(&s.args, 0);
	expect("connect over RDMA in tcp", do_ioctl(fd, NUMASPAN_CONNECT_RDMA, &c), EOPNOTSUPP);
	close(fd);
}

/* Node 1, or who says so, dials node 0; @start are the results of their starts. */
static void rdma_pair(struct numaspan_create args[2], int fd[2], int start[2])
{
	const char *ip = span_rdma_ip();
	int i, err = 0;

	for (i = 0; i < 2; i++) {
		fd[i] = span_create(&args[i], i);
		err = err ?: span_connect_rdma(fd[i], !i, i, ip, ip);
	}
	if (err)
		tap_bail("NUMASPAN_CONNECT_RDMA at %s: %s", ip, strerror(err));
	/* Node 0 listens already. */
	start[1] = span_start(&fd[1], 1);
	start[0] = span_start(&fd[0], 1);
}

/* What the log of a host should say about a stranger; whoever runs this looks there. */
static void test_rdma_strangers(void)
{
	static const char * const name[] = { "the dialer's half of the token",
		"the listener's half of the token", "another span", "another epoch",
		"another policy" };
	struct numaspan_create args[2];
	struct numaspan_status status;
	struct numaspan_stats st;
	int fd[2], start[2], i, right, by;
	const char *ip = span_rdma_ip();

	for (i = 0; i < 5; i++) {
		span_args(&args[0], 2, PAGES, 64);
		args[0].transport = NUMASPAN_RDMA;
		args[0].timeout_ms = 3000;
		args[1] = args[0];
		args[1].token[i ? 31 : 0] ^= i < 2;
		args[1].span_id ^= i == 2;
		args[1].epoch += i == 3;
		args[1].policy = i == 4 ? NUMASPAN_POLICY_SERIAL : 0;
		rdma_pair(args, fd, start);
		/* The listener shows its half last, so then it is the dialer who refuses. */
		by = i == 1;
		span_stats(fd[by], &st);
		/* Then the listener may have started before that. */
		if (by && !start[0])
			start[0] = span_wait_stopped(fd[0], WAIT_MS, &status) ? ESHUTDOWN : 0;
		tap_ok(start[1] == (by ? EKEYREJECTED : ECONNREFUSED) && start[0] && st.refused,
		       "rdma: %s: dialer: %s, listener: %s, refused %llu", name[i],
		       error_name(start[1]), error_name(start[0]), st.refused);
		close(fd[0]);
		close(fd[1]);
	}

	/* A stranger does not keep the span's own node out. */
	span_args(&args[0], 2, PAGES, 64);
	args[0].transport = NUMASPAN_RDMA;
	args[1] = args[0];
	args[1].token[0] ^= 1;
	fd[0] = span_create(&args[0], 0);
	fd[1] = span_create(&args[1], 1);
	if (span_connect_rdma(fd[0], 1, 0, ip, ip) || span_connect_rdma(fd[1], 0, 1, ip, ip))
		tap_bail("NUMASPAN_CONNECT_RDMA at %s", ip);
	expect("rdma: a stranger", span_start(&fd[1], 1), ECONNREFUSED);
	close(fd[1]);
	fd[1] = span_create(&args[0], 1);
	right = span_connect_rdma(fd[1], 0, 1, ip, ip) ?: span_start(&fd[1], 1);
	expect("rdma: then the span's own node", right ?: span_start(&fd[0], 1), 0);
	close(fd[0]);
	close(fd[1]);

	args[0].timeout_ms = 500;
	fd[0] = span_create(&args[0], 0);
	span_connect_rdma(fd[0], 1, 0, ip, ip);
	expect("rdma: start without the other node", span_start(&fd[0], 1), ETIMEDOUT);
	close(fd[0]);
	fd[1] = span_create(&args[0], 1);
	span_connect_rdma(fd[1], 0, 1, ip, ip);
	expect("rdma: start when nobody listens", span_start(&fd[1], 1), ECONNREFUSED);
	close(fd[1]);
}

struct worker {
	pthread_t thread;
	struct span *s;
	int node;
};

/* Move pages about until an access fails. */
static void *work(void *arg)
{
	struct worker *w = arg;
	u64 n;

	for (n = 0; !try_store(w->s->map[w->node] + n % (2 * PAGES) * PAGE + 8 * w->node, n); n++)
		;
	return NULL;
}

static void shell(const char *cmd)
{
	int status = system(cmd);

	if (status)
		tap_bail("%s: status %#x", cmd, status);
}

static void hurt(const struct span *s, const char *how)
{
	u64 end = now_ns() + WAIT_MS * 1000000ULL;
	char path[96], text[32];
	int fd, n;

	if (!strcmp(how, "link")) {
		shell("rdma link delete rxe0");
		return;
	}
	snprintf(path, sizeof(path), "/sys/kernel/debug/numaspan/%llx-0/damage", s->args.span_id);
	n = snprintf(text, sizeof(text), "1 %s", how);
	fd = open(path, O_WRONLY);
	/* A completion queue takes no smaller size while more than that is in it. */
	while (fd >= 0 && write(fd, text, n) != n)
		if (errno == ESHUTDOWN || now_ns() > end)
			tap_bail("%s to %s: %s", text, path, strerror(errno));
	if (fd < 0)
		tap_bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* Both nodes are at work when something breaks: both stop, say why, and let everything go. */
static void test_rdma_broken(void)
{
	static const char * const how[] = { "qp", "access", "cq", "link" };
	struct numaspan_status st[2];
	struct worker w[2];
	struct span s = { };
	bool stopped, device;
	u64 t;
	int i, k;

	for (k = 0; k < 4; k++) {
		device = !strcmp(how[k], "link");
		span_args(&s.args, 2, PAGES, 2 * PAGES + 64);
		s.args.transport = NUMASPAN_RDMA;
		span_up(&s);
		for (i = 0; i < 2; i++) {
			w[i] = (struct worker){ .s = &s, .node = i };
			if (pthread_create(&w[i].thread, NULL, work, &w[i]))
				tap_bail("no thread");
		}
		/* Until pages move. */
		do {
			struct numaspan_stats stats;

			span_stats(s.fd[0], &stats);
			t = stats.transfers_in;
		} while (t < 20);
		hurt(&s, how[k]);
		stopped = true;
		for (i = 0; i < 2; i++)
			stopped &= span_wait_stopped(s.fd[i], WAIT_MS, &st[i]);
		for (i = 0; i < 2; i++)
			pthread_join(w[i].thread, NULL);
		tap_ok(stopped && *st[0].text && *st[1].text &&
		       (device ? st[0].reason == NUMASPAN_R_DEVICE ||
			 st[1].reason == NUMASPAN_R_DEVICE : st[0].reason == NUMASPAN_R_PEER_LOST ||
			 st[1].reason == NUMASPAN_R_PEER_LOST),
		       "rdma: broken, %s: node 0: %s: %s", how[k], span_reason(st[0].reason),
		       st[0].text);
		tap_diag("node 1: %s: %s", span_reason(st[1].reason), st[1].text);
		if (device)
			tap_ok(access("/sys/class/infiniband/rxe0", F_OK) != 0,
			       "rdma: the device is gone before the span's user is");
		span_down(&s);
	}
}

static void test_connect(void)
{
	struct numaspan_connect conn = { .node = 1 };
	struct span s = { };
	int fd, sock[2], tls[2], other;

	span_args(&s.args, 2, PAGES, 64);
	s.args.transport = NUMASPAN_TCP;
	fd = span_create(&s.args, 0);
	expect("start without connection", do_ioctl(fd, NUMASPAN_START, NULL), ENOTCONN);
	close(fd);

	fd = span_create(&s.args, 0);
	span_tcp_pair(sock);
	conn.fd = -1;
	expect("connect with file -1", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EBADF);
	conn.fd = fd;
	expect("connect with a file that is no socket", do_ioctl(fd, NUMASPAN_CONNECT, &conn),
	       ENOTSOCK);
	other = socket(AF_INET, SOCK_DGRAM, 0);
	conn.fd = other;
	expect("connect with a UDP socket", do_ioctl(fd, NUMASPAN_CONNECT, &conn), ENOTCONN);
	close(other);
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	conn.fd = other;
	expect("connect with a unix socket", do_ioctl(fd, NUMASPAN_CONNECT, &conn), ENOTCONN);
	close(other);
	other = socket(AF_INET, SOCK_STREAM, 0);
	conn.fd = other;
	expect("connect with an unconnected socket", do_ioctl(fd, NUMASPAN_CONNECT, &conn),
	       ENOTCONN);
	listen(other, 1);
	expect("connect with a listening socket", do_ioctl(fd, NUMASPAN_CONNECT, &conn), ENOTCONN);
	close(other);
	span_tcp_pair(tls);
	if (setsockopt(tls[0], IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"))) {
		tap_skip("connect with a TLS socket", strerror(errno));
	} else {
		conn.fd = tls[0];
		expect("connect with a TLS socket", do_ioctl(fd, NUMASPAN_CONNECT, &conn),
		       ENOTCONN);
	}
	close(tls[0]);
	close(tls[1]);
	conn.fd = sock[0];
	conn.node = 0;
	expect("connect to itself", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EINVAL);
	conn.node = 2;
	expect("connect to a node past the last", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EINVAL);
	conn.node = 1;
	conn.reserved[1] = 1;
	expect("connect with a reserved field", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EINVAL);
	conn.reserved[1] = 0;
	expect("connect from a bad address", do_ioctl(fd, NUMASPAN_CONNECT, (void *)8), EFAULT);
	expect("connect", do_ioctl(fd, NUMASPAN_CONNECT, &conn), 0);
	conn.fd = sock[1];
	expect("connect the same peer twice", do_ioctl(fd, NUMASPAN_CONNECT, &conn), EEXIST);
	close(fd);
	close(sock[0]);
	close(sock[1]);
}

/* ---- nodes that do not fit together ---- */

static void test_join(void)
{
	struct numaspan_create c, d;
	unsigned int policy;
	int fd[2], err;
	u64 t;

	span_args(&c, 2, PAGES, 64);
	c.timeout_ms = 500;
	fd[0] = span_create(&c, 0);
	t = now_ns();
	err = span_start(fd, 1);
	t = (now_ns() - t) / 1000000;
	tap_ok(err == ETIMEDOUT && t >= 400 && t < WAIT_MS,
	       "start without the other node: %s after %llu ms of 500", error_name(err), t);
	close(fd[0]);

	d = c;
	d.token[31] ^= 1;
	fd[0] = span_create(&c, 0);
	fd[1] = span_create(&d, 1);
	err = span_start(fd, 2);
	tap_ok(err == EKEYREJECTED || err == ETIMEDOUT, "start with another token: %s",
	       error_name(err));
	close(fd[0]);
	close(fd[1]);

	d = c;
	d.home_pages[1]++;
	fd[0] = span_create(&c, 0);
	fd[1] = span_create(&d, 1);
	err = span_start(fd, 2);
	tap_ok(err == EINVAL || err == ETIMEDOUT, "start with another layout: %s",
	       error_name(err));
	close(fd[0]);
	close(fd[1]);

	for (policy = 1; policy <= NUMASPAN_POLICY_ALL; policy <<= 1) {
		bool alone = !(policy & NUMASPAN_POLICY_PROTOCOL);

		d = c;
		d.policy = policy;
		fd[0] = span_create(&c, 0);
		fd[1] = span_create(&d, 1);
		err = span_start(fd, 2);
		tap_ok(alone ? !err : err == EINVAL || err == ETIMEDOUT,
		       "start with another policy, %u: %s", policy, error_name(err));
		close(fd[0]);
		close(fd[1]);
	}

	fd[0] = span_create(&c, 0);
	fd[1] = span_create(&c, 0);
	err = span_start(fd, 2);
	tap_ok(err == EEXIST || err == ETIMEDOUT, "start of the same node twice: %s",
	       error_name(err));
	close(fd[0]);
	close(fd[1]);

	d = c;
	d.epoch++;
	fd[0] = span_create(&c, 0);
	fd[1] = span_create(&d, 1);
	err = span_start(fd, 2);
	expect("start with another epoch", err, ETIMEDOUT);
	close(fd[0]);
	close(fd[1]);
}

static void test_two_spans(void)
{
	struct span a = { }, b = { };
	u64 i, wrong = 0;

	span_args(&a.args, 2, PAGES, 64);
	span_args(&b.args, 2, PAGES, 64);
	b.args.span_id++;
	span_up(&a);
	span_up(&b);
	for (i = 0; i < 2 * PAGES; i++) {
		store64(a.map[i % 2] + i * PAGE, i + 1);
		store64(b.map[i % 2] + i * PAGE, ~i);
	}
	for (i = 0; i < 2 * PAGES; i++)
		wrong += load64(a.map[!(i % 2)] + i * PAGE) != i + 1 ||
			 load64(b.map[!(i % 2)] + i * PAGE) != ~i;
	tap_ok(!wrong, "two spans at once: %llu wrong values", wrong);
	span_down(&a);
	store64(b.map[0], 5);
	tap_ok(load64(b.map[1]) == 5, "the second span outlives the first");
	span_down(&b);
}

static void test_solo(void)
{
	struct span s = { };
	u64 i, sum = 0;

	span_args(&s.args, 1, PAGES, 64);
	span_up(&s);
	for (i = 0; i < PAGES; i++)
		store64(s.map[0] + i * PAGE, i);
	for (i = 0; i < PAGES; i++)
		sum += load64(s.map[0] + i * PAGE);
	tap_ok(sum == PAGES * (PAGES - 1) / 2, "a span of one node");
	span_down(&s);
}

/* ---- what may be done to a mapping ---- */

static void test_mapping(void)
{
	struct span s = { };
	int status, sig;
	char *moved, *map;
	pid_t pid;
	u64 v = 0;

	span_args(&s.args, 2, PAGES, 64);
	span_up(&s);
	store64(s.map[0], 1);

	pid = fork();
	if (!pid)
		_exit(try_load(s.map[0], &v) ?: 0);
	waitpid(pid, &status, 0);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == SIGSEGV,
	       "a forked child has no mapping: status %#x", status);

	moved = mremap(s.map[1], 2 * PAGES * PAGE, 4 * PAGES * PAGE, MREMAP_MAYMOVE);
	tap_ok(moved == MAP_FAILED, "a mapping cannot grow: %s",
	       error_name(moved == MAP_FAILED ? errno : 0));
	map = mmap(NULL, 2 * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mremap(s.map[1], 2 * PAGES * PAGE, 2 * PAGES * PAGE,
		       MREMAP_MAYMOVE | MREMAP_FIXED, map);
	if (moved == MAP_FAILED)
		tap_bail("mremap of a mapping: %s", strerror(errno));
	s.map[1] = moved;
	store64(s.map[0], 2);
	v = load64(s.map[1]);
	store64(s.map[1], 3);
	tap_ok(v == 2 && load64(s.map[0]) == 3, "a moved mapping stays coherent");

	map = span_map(s.fd[0], s.pages);
	store64(s.map[1], 4);
	v = load64(map);
	store64(map, 5);
	tap_ok(v == 4 && load64(s.map[0]) == 5 && load64(s.map[1]) == 5,
	       "two mappings of one node agree");
	munmap(map, s.pages * PAGE);

	mprotect(s.map[1], PAGE, PROT_READ);
	store64(s.map[0], 6);
	sig = try_store(s.map[1], 7);
	tap_ok(sig == SIGSEGV && load64(s.map[1]) == 6, "mprotect is obeyed: signal %d", sig);
	mprotect(s.map[1], PAGE, PROT_READ | PROT_WRITE);
	store64(s.map[1], 8);
	madvise(s.map[1], PAGE, MADV_DONTNEED);
	tap_ok(load64(s.map[1]) == 8 && load64(s.map[0]) == 8,
	       "madvise(MADV_DONTNEED) loses nothing");
	munmap(s.map[1], PAGE);
	store64(s.map[0] + PAGE, 9);
	tap_ok(load64(s.map[1] + PAGE) == 9, "half a mapping is enough");
	span_down(&s);
}

/* ---- the end of a peer, the end of a user ---- */

static void expect_stopped(int fd, unsigned int reason, int timeout_ms, const char *what)
{
	struct numaspan_status st;
	bool stopped = span_wait_stopped(fd, timeout_ms, &st);

	if (!tap_ok(stopped && st.reason == reason && *st.text, "%s: %s: %s", what,
		    stopped ? span_reason(st.reason) : "still running", st.text))
		tap_diag("expected %s within %d ms", span_reason(reason), timeout_ms);
}

struct toucher {
	pthread_t thread;
	char *at;
	bool write;
	int sig;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;
	u64 v;

	t->sig = t->write ? try_store(t->at, 1) : try_load(t->at, &v);
	return NULL;
}

/* A thread that accesses @at, which has to wait for a peer. */
static void touch_start(struct toucher *t, char *at, bool write)
{
	*t = (struct toucher){ .at = at, .write = write };
	if (pthread_create(&t->thread, NULL, touch, t))
		tap_bail("no thread");
}

/* A thread that does not end within the bound is a failure of its own. */
static void join(pthread_t thread, const char *what)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_MS / 1000;
	if (pthread_timedjoin_np(thread, NULL, &end))
		tap_bail("%s did not end within %d ms", what, WAIT_MS);
}

/* The signal it got */
static int touch_end(struct toucher *t)
{
	join(t->thread, "an access to a stopped span");
	return t->sig;
}

/* Node 0 is real, node 1 is @sock. */
static int half_span(struct span *s, int timeout_ms, int *sock)
{
	int pair[2], err;

	memset(s, 0, sizeof(*s));
	span_args(&s->args, 2, PAGES, 64);
	s->args.transport = NUMASPAN_TCP;
	s->args.timeout_ms = timeout_ms;
	s->self = 0;
	s->pages = 2 * PAGES;
	s->fd[0] = span_create(&s->args, 0);
	span_tcp_pair(pair);
	err = span_connect(s->fd[0], 1, pair[0]);
	if (err)
		tap_bail("NUMASPAN_CONNECT: %s", strerror(err));
	close(pair[0]);
	err = span_start(s->fd, 1);
	if (err)
		tap_bail("NUMASPAN_START: %s", strerror(err));
	s->map[0] = span_map(s->fd[0], s->pages);
	*sock = pair[1];
	return s->fd[0];
}

static void test_peers(void)
{
	struct toucher t;
	struct span s = { };
	int transport, sock, fd;
	u64 v;

	for (transport = NUMASPAN_LOOPBACK; transport <= last_transport; transport++) {
		static const char * const names[] = { "loopback", "tcp", "rdma" };
		const char *name = names[transport];

		span_args(&s.args, 2, PAGES, 64);
		s.args.transport = transport;
		span_up(&s);
		store64(s.map[1], 1);
		munmap(s.map[1], s.pages * PAGE);
		close(s.fd[1]);
		tap_diag("%s: the peer is closed", name);
		expect_stopped(s.fd[0], NUMASPAN_R_PEER_STOP, WAIT_MS, "the peer is closed");
		tap_ok(try_load(s.map[0], &v) == SIGBUS, "then an access gives SIGBUS");
		munmap(s.map[0], s.pages * PAGE);
		close(s.fd[0]);
	}

	fd = half_span(&s, 10000, &sock);
	touch_start(&t, s.map[0] + PAGES * PAGE, true);
	close(sock);
	expect_stopped(fd, NUMASPAN_R_PEER_LOST, WAIT_MS, "the connection breaks");
	tap_ok(touch_end(&t) == SIGBUS, "an access that waits gets SIGBUS");
	span_down(&s);

	fd = half_span(&s, 500, &sock);
	touch_start(&t, s.map[0] + PAGES * PAGE, false);
	expect_stopped(fd, NUMASPAN_R_PEER_TIMEOUT, WAIT_MS, "the peer is silent");
	tap_ok(touch_end(&t) == SIGBUS, "an access that waits gets SIGBUS");
	span_down(&s);
	close(sock);

	fd = half_span(&s, 10000, &sock);
	touch_start(&t, s.map[0] + PAGES * PAGE, false);
	expect("stop while an access waits", do_ioctl(fd, NUMASPAN_STOP, NULL), 0);
	expect_stopped(fd, NUMASPAN_R_STOP, WAIT_MS, "stopped");
	tap_ok(touch_end(&t) == SIGBUS, "the access gets SIGBUS");
	span_down(&s);
	close(sock);
}

struct borrower {
	int sock;
	char *at;
	ssize_t sent;
	int err;
};

static void *send_page(void *arg)
{
	struct borrower *b = arg;

	b->sent = send(b->sock, b->at, PAGE, MSG_NOSIGNAL);
	b->err = errno;
	return NULL;
}

/*
 * Who sends a page of the span over the span's own connection has the socket locked while the
 * page is asked for over that connection.  He gets no page, but an end.
 */
static void test_borrowed(void)
{
	struct borrower b;
	struct span s = { };
	pthread_t thread;
	int i, err = 0, sock[2];

	span_args(&s.args, 2, PAGES, 64);
	s.args.transport = NUMASPAN_TCP;
	s.args.timeout_ms = 500;
	s.self = -1;
	s.pages = 2 * PAGES;
	span_tcp_pair(sock);
	for (i = 0; i < 2; i++) {
		s.fd[i] = span_create(&s.args, i);
		err = err ?: span_connect(s.fd[i], !i, sock[i]);
	}
	err = err ?: span_start(s.fd, 2);
	if (err)
		tap_bail("a span over a socket that is kept: %s", strerror(err));
	for (i = 0; i < 2; i++)
		s.map[i] = span_map(s.fd[i], s.pages);
	store64(s.map[0] + PAGES * PAGE, 1);
	tap_ok(load64(s.map[1] + PAGES * PAGE) == 1, "a span whose socket is kept runs");
	b = (struct borrower){ .sock = sock[0], .at = s.map[0] + (PAGES + 1) * PAGE };
	if (pthread_create(&thread, NULL, send_page, &b))
		tap_bail("no thread");
	expect_stopped(s.fd[0], NUMASPAN_R_PEER_TIMEOUT, WAIT_MS,
		       "a page of the span is sent over its own socket");
	join(thread, "send()");
	expect("send() of it", b.sent < 0 ? b.err : 0, EFAULT);
	span_down(&s);
	close(sock[0]);
	close(sock[1]);
}

/* A child in its own group of accesses; killed at a time that varies. */
static void child_of_kill(int n)
{
	struct toucher t[2];
	struct span s = { };
	int sock, i;

	signal(SIGBUS, SIG_DFL);
	if (n % 3 == 0) {
		/* Waits for a peer that never answers. */
		half_span(&s, 60000, &sock);
		store64(s.map[0] + PAGES * PAGE, 1);
		_exit(1);
	}
	span_args(&s.args, 2, PAGES, 64);
	s.args.transport = n % 3 == 1 ? NUMASPAN_LOOPBACK : last_transport;
	span_up(&s);
	for (i = 0; i < 2; i++)
		touch_start(&t[i], s.map[i] + PAGES * PAGE, true);
	for (;;)
		for (i = 0; i < 2 * PAGES; i++)
			store64(s.map[i & 1] + (u64)i * PAGE, i);
}

static void test_kill(void)
{
	int n, status, lingering = 0;
	struct span s = { };

	for (n = 0; n < 12; n++) {
		struct timespec later = { .tv_nsec = (mix64(n) % 200 + 20) * 1000000 };
		u64 deadline;
		pid_t pid = fork();

		if (!pid)
			child_of_kill(n);
		/* The time of death is the test's subject. */
		nanosleep(&later, NULL);
		kill(pid, SIGKILL);
		deadline = now_ns() + WAIT_MS * 1000000ULL;
		while (waitpid(pid, &status, WNOHANG) != pid && now_ns() < deadline)
			sched_yield();
		if (now_ns() >= deadline) {
			lingering++;
			break;
		}
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			tap_ok(false, "child %d ended before it was killed: status %#x", n, status);
	}
	tap_ok(!lingering, "kill -9 of users, in faults and out of them: %d of 12 did not die",
	       lingering);
	span_args(&s.args, 2, PAGES, 64);
	span_up(&s);
	store64(s.map[0], 1);
	tap_ok(load64(s.map[1]) == 1, "afterwards a span works");
	span_down(&s);
}

/* ---- others than CPUs that use a page ---- */

static u64 drain_waits(const struct span *s, int node)
{
	struct numaspan_stats st;

	span_stats(s->fd[node], &st);
	return st.drain_waits;
}

struct storer {
	pthread_t thread;
	char *at;
	atomic_bool done;
};

static void *store_two(void *arg)
{
	struct storer *t = arg;

	store64(t->at, 2);
	t->done = true;
	return NULL;
}

/* A pipe holds a reference to a page of node 0 until it is read; node 1 wants to write it. */
static void test_reader(struct span *s)
{
	struct iovec v = { s->map[0] + PAGE, 8 };
	struct storer t = { .at = s->map[1] + PAGE };
	u64 end = now_ns() + WAIT_MS * 1000000ULL, got = 0;
	int p[2];

	store64(s->map[0] + PAGE, 1);
	if (pipe(p) || vmsplice(p[1], &v, 1, 0) != 8)
		tap_bail("vmsplice: %s", strerror(errno));
	if (pthread_create(&t.thread, NULL, store_two, &t))
		tap_bail("no thread");
	while (!drain_waits(s, 0) && !t.done && now_ns() < end)
		sched_yield();
	tap_ok(!t.done && drain_waits(s, 0), "a page that a pipe refers to stays: %llu waits",
	       drain_waits(s, 0));
	if (read(p[0], &got, 8) != 8)
		tap_bail("read of the pipe: %s", strerror(errno));
	pthread_join(t.thread, NULL);
	tap_ok(got == 1 && load64(s->map[0] + PAGE) == 2,
	       "the pipe has what was there before: %llu", got);
	close(p[0]);
	close(p[1]);
}

#define SECTOR		512
#define NR_SECTORS	64
#define DIRECT_READS	1500

static atomic_bool over;

/* Node 1 writes where the disk does not. */
static void *count_up(void *arg)
{
	u64 n = 0;

	while (!over)
		store64((char *)arg + SECTOR, ++n);
	return (void *)n;
}

/*
 * A disk writes the first sector of a page for node 0, node 1 writes the second all the time.
 * Whoever moves the page must wait until the disk has done.
 */
static void test_direct(struct span *s)
{
	u64 at, lost = 0, sector[SECTOR / 8], n, i;
	int fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	char *page = s->map[0] + 2 * PAGE;
	pthread_t t;
	void *last;

	if (fd < 0)
		tap_bail("%s: %s", disk, strerror(errno));
	for (n = 0; n < NR_SECTORS; n++) {
		for (i = 0; i < SECTOR / 8; i++)
			store64(s->map[0] + i * 8, mix64(n << 8 | i));
		if (pwrite(fd, s->map[0], SECTOR, n * SECTOR) != SECTOR)
			tap_bail("%s: write: %s", disk, strerror(errno));
	}
	if (pthread_create(&t, NULL, count_up, s->map[1] + 2 * PAGE))
		tap_bail("no thread");
	/* What must fail may take longer until it does. */
	for (n = 0; n < DIRECT_READS * (unsafe ? 10 : 1) && !(unsafe && lost); n++) {
		at = next_random(&seed) % NR_SECTORS;
		if (pread(fd, page, SECTOR, at * SECTOR) != SECTOR)
			tap_bail("%s: read: %s", disk, strerror(errno));
		memcpy(sector, page, SECTOR);
		for (i = 0; i < SECTOR / 8 && sector[i] == mix64(at << 8 | i); i++)
			;
		lost += i < SECTOR / 8;
	}
	over = true;
	pthread_join(t, &last);
	over = false;
	tap_ok(!lost, "%llu reads with O_DIRECT into a page that another node writes: %llu lost",
	       n, lost);
	tap_ok(load64(page + SECTOR) == (u64)last && last, "and none of the %llu writes",
	       (u64)last);
	close(fd);
}

static void test_references(void)
{
	struct span s = { };

	span_args(&s.args, 2, PAGES, 64);
	s.args.unsafe = unsafe;
	span_up(&s);
	if (!unsafe)
		test_reader(&s);
	if (disk)
		test_direct(&s);
	else
		tap_skip("reads with O_DIRECT", "no --disk");
	span_down(&s);
}

/* ---- messages that no node would send ---- */

static unsigned int crc_table[256];

/* CRC-32C as the kernel's crc32c(~0, ...) gives it. */
static unsigned int crc32c(const void *data, size_t len)
{
	const unsigned char *p = data;
	unsigned int crc = ~0U, i, bit;

	for (i = 0; i < 256 && !crc_table[255]; i++)
		for (bit = 0, crc_table[i] = i; bit < 8; bit++)
			crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0x82f63b78 : 0);
	while (len--)
		crc = crc >> 8 ^ crc_table[(crc ^ *p++) & 255];
	return crc;
}

static void seal(struct ns_wire *w)
{
	w->crc = crc32c(w, offsetof(struct ns_wire, crc));
}

struct liar {
	struct span s;
	int fd;
	int sock;
	unsigned int seq;
	u64 seed;
	long sent;
};

/* An honest header from node 1 to node 0. */
static struct ns_wire honest(struct liar *l, unsigned int type, u64 page)
{
	struct ns_wire w = {
		.magic = NS_WIRE_MAGIC,
		.version = NS_WIRE_VERSION,
		.type = type,
		.from = 1,
		.to = 0,
		.span_id = l->s.args.span_id,
		.epoch = l->s.args.epoch,
		.seq = l->seq++,
		.page = page,
	};

	seal(&w);
	return w;
}

/* False when the node no longer takes anything.  What it says is read and ignored. */
static bool say(struct liar *l, const void *data, size_t len)
{
	const char *p = data;
	char junk[8192];

	l->sent++;
	while (len) {
		struct pollfd pf = { .fd = l->sock, .events = POLLIN | POLLOUT };
		ssize_t n;

		if (poll(&pf, 1, WAIT_MS) <= 0)
			return false;
		if (pf.revents & POLLIN && recv(l->sock, junk, sizeof(junk), MSG_DONTWAIT) <= 0)
			return false;
		if (!(pf.revents & POLLOUT))
			continue;
		n = send(l->sock, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

#define LIES	26

/* Send a lie of a given kind: what it is called, and the one reason it must stop the span for. */
static const char *tell(struct liar *l, unsigned int kind, unsigned int *reason)
{
	struct { struct ns_wire w; char data[PAGE]; } m;
	u64 r = next_random(&l->seed);
	const char *name = "";

	memset(&m, 0, sizeof(m));
	*reason = NUMASPAN_R_BAD_MESSAGE;
	m.w = honest(l, NUMASPAN_PING, 0);
	switch (kind) {
	case 0:
		for (r = 0; r < sizeof(m.w); r++)
			((char *)&m.w)[r] = next_random(&l->seed);
		say(l, &m, sizeof(m.w));
		return "random bytes";
	case 1:
		((char *)&m.w)[r / 8 % sizeof(m.w)] ^= 1 << r % 8;
		say(l, &m, sizeof(m.w));
		return "a flipped bit";
	case 2:
		name = "another version";
		m.w.version += 1 + r % 255;
		break;
	case 3:
		name = "an unknown type";
		m.w.type = NUMASPAN_NR_MSGS + r % (256 - NUMASPAN_NR_MSGS);
		break;
	case 4:
		name = "another sender";
		m.w.from = r % 2 ? 0 : 2 + r % 250;
		break;
	case 5:
		name = "another receiver";
		m.w.to = 1 + r % 255;
		break;
	case 6:
		name = "another span";
		m.w.span_id ^= 1ULL << r % 64;
		break;
	case 7:
		name = "another epoch";
		m.w.epoch ^= 1U << r % 32;
		break;
	case 8:
		name = "a repeated sequence number";
		say(l, &m, sizeof(m.w));
		break;
	case 9:
		name = "a skipped sequence number";
		m.w.seq += 1 + r % 1000;
		break;
	case 10:
		name = "another policy";
		m.w.policy = 1 + r % 7;
		break;
	case 11:
		name = "a policy that there is not";
		m.w.policy = 8 + r % 248;
		break;
	case 12:
		name = "a page outside the span";
		m.w.page = l->s.pages + (r % 2 ? 0 : r >> 1);
		break;
	case 13:
		name = "contents after a message that has none";
		m.w.len = 1 + r % PAGE;
		break;
	case 14:
		name = "a page of a wrong length";
		m.w.type = NUMASPAN_DATA;
		m.w.page = PAGES;
		m.w.len = r % 2 ? PAGE - 1 : ~0U;
		break;
	case 15:
		name = "a last word that is too long";
		m.w.type = NUMASPAN_BYE;
		m.w.len = NUMASPAN_REASON_LEN;
		break;
	case 16:
		name = "contents with a wrong checksum";
		m.w.type = NUMASPAN_DATA;
		m.w.page = PAGES;
		m.w.txn = 1;
		m.w.grant = 1;
		m.w.len = PAGE;
		m.w.data_crc = crc32c(m.data, PAGE) ^ (1U << r % 32);
		seal(&m.w);
		say(l, &m, sizeof(m));
		return name;
	case 17:
		name = "a requester outside the span";
		m.w.type = NUMASPAN_INV;
		m.w.page = PAGES;
		m.w.requester = 2 + r % 254;
		m.w.txn = 1;
		break;
	case 18:
		name = "a permission that does not exist";
		m.w.type = NUMASPAN_GRANT;
		m.w.page = PAGES;
		m.w.grant = 4 + r % 252;
		m.w.txn = 1;
		break;
	case 19:
		name = "acknowledgements of nodes outside the span";
		m.w.type = NUMASPAN_GRANT;
		m.w.page = PAGES;
		m.w.grant = 3;
		m.w.acks = 4ULL << r % 62;
		m.w.txn = 1;
		break;
	case 20:
		name = "a request to a node that is not the home";
		m.w.type = r % 2 ? NUMASPAN_GETS : NUMASPAN_GETX;
		m.w.page = PAGES + r % PAGES;
		break;
	case 21:
		name = "an order from a node that is not the home";
		m.w.type = r % 2 ? NUMASPAN_INV : NUMASPAN_FWD_GETX;
		m.w.page = r % PAGES;
		m.w.requester = 1;
		m.w.txn = 1;
		break;
	case 22:
		name = "the end of what never began";
		*reason = NUMASPAN_R_PROTOCOL;
		m.w.type = NUMASPAN_DONE;
		m.w.page = r % PAGES;
		m.w.txn = 1 + r % 1000;
		break;
	case 23:
		name = "a permission that nobody asked for";
		*reason = NUMASPAN_R_PROTOCOL;
		m.w.type = NUMASPAN_GRANT;
		m.w.page = PAGES + r % PAGES;
		m.w.grant = 3;
		m.w.txn = 1 + r % 1000;
		break;
	case 24:
		name = "an order for a page that is not here";
		*reason = NUMASPAN_R_PROTOCOL;
		m.w.type = NUMASPAN_FWD_GETX;
		m.w.page = PAGES + r % PAGES;
		m.w.requester = 1;
		m.w.grant = 3;
		m.w.txn = 1 + r % 1000;
		break;
	default:
		name = "half a message";
		*reason = NUMASPAN_R_PEER_LOST;
		say(l, &m, 1 + r % (sizeof(m.w) - 1));
		shutdown(l->sock, SHUT_RDWR);
		return name;
	}
	seal(&m.w);
	say(l, &m, sizeof(m.w));
	return name;
}

/* Garbage, until nobody listens or @most messages have gone. */
static void babble(struct liar *l, long most)
{
	struct ns_wire w[16];
	long n;
	size_t i;

	for (n = 0; n < most; n++) {
		for (i = 0; i < sizeof(w); i += 8)
			*(u64 *)((char *)w + i) = next_random(&l->seed);
		w[0].magic = NS_WIRE_MAGIC;
		w[0].version = NS_WIRE_VERSION;
		seal(&w[0]);
		if (!say(l, w, n % 4 ? sizeof(*w) : sizeof(w)))
			return;
	}
}

/*
 * Messages with right headers and any content: types, transactions, permissions, masks.  The
 * node may believe some of them; what counts is that it lives and in the end says why it stops.
 */
static void deceive(struct liar *l, long most)
{
	struct { struct ns_wire w; char data[PAGE]; } m;
	long n;

	memset(&m, 0, sizeof(m));
	for (n = 0; n < most; n++) {
		u64 r = next_random(&l->seed);

		m.w = honest(l, r % NUMASPAN_BYE, (r >> 8) % l->s.pages);
		/* Mostly one of four pages, so that messages meet. */
		if (r >> 60)
			m.w.page = m.w.page % 2 + (m.w.page & 2 ? PAGES : 0);
		m.w.txn = (r >> 20) % 6;
		m.w.requester = (r >> 24) % 2;
		m.w.grant = (r >> 28) % 4;
		m.w.have = (r >> 32) % 2;
		m.w.acks = (r >> 36) % 4 ? 0 : (r >> 40) % 4;
		m.w.len = m.w.type == NUMASPAN_DATA ? PAGE : 0;
		m.w.data_crc = m.w.len ? crc32c(m.data, PAGE) : 0;
		seal(&m.w);
		if (!say(l, &m, sizeof(m.w) + m.w.len))
			return;
	}
}

static void liar_up(struct liar *l, u64 seed)
{
	l->seed = mix64(seed);
	l->seq = 0;
	l->fd = half_span(&l->s, 10000, &l->sock);
	/* What honest peers do first: node 0 gives a page away. */
	if (seed % 2) {
		struct ns_wire w = honest(l, NUMASPAN_GETX, seed % PAGES);

		say(l, &w, sizeof(w));
	}
}

static void liar_down(struct liar *l)
{
	span_down(&l->s);
	close(l->sock);
}

static void test_lies(void)
{
	struct numaspan_status st;
	struct liar l = { };
	unsigned int kind, reason;
	const char *name = "";

	for (kind = 0; kind < LIES; kind++) {
		liar_up(&l, kind);
		name = tell(&l, kind, &reason);
		span_wait_stopped(l.fd, WAIT_MS, &st);
		if (!tap_ok(st.state == NUMASPAN_STOPPED && st.reason == reason, "%s: %s: %s", name,
			    span_reason(st.reason), st.text))
			tap_diag("expected %s", span_reason(reason));
		liar_down(&l);
	}
}

static void test_garbage(void)
{
	unsigned long stopped = 0, wrong = 0, seen[16] = { 0 };
	struct numaspan_status st;
	struct liar l = { };
	struct toucher t[2];
	unsigned int reason;
	u64 t0 = now_ns();
	long n;
	int i;

	for (n = 0; l.sent < nr_messages; n++) {
		liar_up(&l, n);
		for (i = 0; i < 2; i++)
			touch_start(&t[i], l.s.map[0] + (PAGES + n % 2) * PAGE, i);
		if (n % 2)
			deceive(&l, 60);
		else
			tell(&l, n / 2 % (LIES - 1), &reason);
		babble(&l, 100);
		if (!span_wait_stopped(l.fd, WAIT_MS, &st)) {
			tap_ok(false, "connection %ld: the span still runs after garbage", n);
			break;
		}
		stopped++;
		seen[st.reason & 15]++;
		wrong += (st.reason != NUMASPAN_R_BAD_MESSAGE &&
			  st.reason != NUMASPAN_R_PROTOCOL) || !*st.text;
		for (i = 0; i < 2; i++)
			touch_end(&t[i]);
		liar_down(&l);
	}
	tap_ok(stopped && !wrong, "%ld corrupted messages on %lu connections, %lu other reasons",
	       l.sent, stopped, wrong);
	for (i = 0; i < 16; i++)
		if (seen[i])
			tap_diag("%lu times %s", seen[i], span_reason(i));
	tap_diag("%.1f s", (now_ns() - t0) / 1e9);
}

/* ---- */

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "create", test_create },
	{ "states", test_states },
	{ "connect", test_connect },
	{ "rdma-connect", test_rdma_connect },
	{ "rdma-strangers", test_rdma_strangers },
	{ "rdma-broken", test_rdma_broken },
	{ "join", test_join },
	{ "spans", test_two_spans },
	{ "solo", test_solo },
	{ "mapping", test_mapping },
	{ "peers", test_peers },
	{ "borrowed", test_borrowed },
	{ "kill", test_kill },
	{ "references", test_references },
	{ "lies", test_lies },
	{ "garbage", test_garbage },
};

#define NR_TESTS	((int)(sizeof(tests) / sizeof(*tests)))

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "messages", required_argument, NULL, 'm' },
		{ "disk", required_argument, NULL, 'd' },
		{ "no-drain", no_argument, NULL, 'n' },
		{ "rdma", no_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	bool found;
	int c, i;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			nr_messages = span_number("devlife", "--messages", optarg, 1, 100000000);
			break;
		case 'd':
			disk = optarg;
			break;
		case 'n':
			unsafe = NUMASPAN_UNSAFE_NO_DRAIN;
			break;
		case 'r':
			last_transport = NUMASPAN_RDMA;
			break;
		case 'h':
			printf("usage: devlife [--messages N] [--disk DEV] [--no-drain] [--rdma]\n"
			       "               [TEST]...\n"
			       "The life of a node and bad input; TAP.  DEV is overwritten.\n"
			       "--rdma: there is a soft-RoCE device rxe0; rdma-broken deletes it.\n"
			       "All tests (without --rdma none of RDMA), or of these:\n");
			for (i = 0; i < NR_TESTS; i++)
				printf("  %s\n", tests[i].name);
			return 0;
		default:
			return 2;
		}
	}
	catch_faults();
	for (i = 0; i < NR_TESTS && optind == argc; i++)
		if (last_transport == NUMASPAN_RDMA || strncmp(tests[i].name, "rdma", 4))
			tests[i].run();
	for (; optind < argc; optind++) {
		for (i = 0, found = false; i < NR_TESTS; i++) {
			if (strcmp(argv[optind], tests[i].name))
				continue;
			tests[i].run();
			found = true;
		}
		if (!found) {
			fprintf(stderr, "devlife: '%s': expected a test of --help\n", argv[optind]);
			return 2;
		}
	}
	return tap_done();
}
