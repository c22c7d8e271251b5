// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each kind of access costs, in messages by type and in transfers, exactly.
 *
 * One thread makes every access, through the mapping of the node it is to come from, so that one
 * follows the other and nothing else happens in the span.  Messages of a node to itself and the
 * transport's own (PING, BYE) are not counted.  The costs are those that docs state.
 */
#include <getopt.h>

#include "span.h"

#define HOME_PAGES	256

static const char * const msg_name[] = {
	"GETS", "GETX", "EVICT", "FWD_GETS", "FWD_GETX", "RECALL", "INV", "GRANT", "DATA", "ACK",
	"DONE",
};

#define NR_COUNTED	((int)(sizeof(msg_name) / sizeof(*msg_name)))

struct cost {
	long msg[NR_COUNTED];
	long transfers;
};

/*
 * An access of a step: "r1" is a read by node 1, "w0" a write by node 0; "c0" clears the page, "p0"
 * clears its second half with the same instruction.
 */
struct scene {
	const char *name;
	int nodes;
	int home;
	const char *before;	/* brings about the state of the page */
	const char *access;	/* is what is counted */
	const char *expect;	/* "GETS DATA DONE", "2*INV"; ZERO: DATA, no contents */
	int policy;
};

#define MOVES	NUMASPAN_POLICY_READ_MOVES
#define SERIAL	NUMASPAN_POLICY_SERIAL
#define NODE_0	NUMASPAN_POLICY_NODE_0
#define ALL	NUMASPAN_POLICY_ALL

static const struct scene scenes[] = {
	{ "first read at home", 2, 0, "", "r0", "" },
	{ "first write at home", 2, 0, "", "w0", "" },
	{ "again, read at home after a write", 2, 0, "w0", "r0", "" },
	{ "remote read, Modified at home", 2, 0, "w0", "r1", "GETS DATA DONE" },
	{ "remote read, untouched at home", 2, 0, "", "r1", "GETS ZERO DONE" },
	{ "second read of a copy", 2, 0, "w0 r1", "r1", "" },
	{ "read at the owner while others share", 2, 0, "w0 r1", "r0", "" },
	{ "remote write, Modified at home", 2, 0, "w0", "w1", "GETX DATA DONE" },
	{ "remote write, untouched at home", 2, 0, "", "w1", "GETX ZERO DONE" },
	{ "upgrade of a remote copy", 2, 0, "w0 r1", "w1", "GETX GRANT ACK DONE" },
	{ "write at home, one sharer", 2, 0, "w0 r1", "w0", "INV ACK" },
	{ "read at home, Modified elsewhere", 2, 0, "w1", "r0", "FWD_GETS DATA" },
	{ "write at home, Modified elsewhere", 2, 0, "w1", "w0", "FWD_GETX DATA" },
	{ "upgrade at home, owned elsewhere", 2, 0, "w1 r0", "w0", "INV ACK" },
	{ "upgrade of the owner, shared by home", 2, 0, "w1 r0", "w1", "GETX GRANT ACK DONE" },
	{ "remote read, Modified at home", 3, 1, "w1", "r2", "GETS DATA DONE" },
	{ "remote read, Modified at a third", 3, 0, "w1", "r2", "GETS FWD_GETS DATA DONE" },
	{ "remote read, owned by a third", 3, 0, "w1 r0", "r2", "GETS FWD_GETS DATA DONE" },
	{ "remote write, Modified at a third", 3, 0, "w1", "w2", "GETX FWD_GETX DATA DONE" },
	{ "remote write, home and one sharer", 3, 0, "w0 r1", "w2",
	  "GETX INV DATA ACK DONE" },
	{ "remote write, a third owns, home shares", 3, 0, "w1 r0", "w2",
	  "GETX FWD_GETX DATA ACK DONE" },
	{ "upgrade, home and another share", 3, 0, "w0 r1 r2", "w2",
	  "GETX GRANT INV 2*ACK DONE" },
	{ "write at home, two sharers", 3, 0, "w0 r1 r2", "w0", "2*INV 2*ACK" },
	{ "read at home, Modified elsewhere", 3, 0, "w2", "r0", "FWD_GETS DATA" },
	{ "clear at home, untouched", 2, 0, "", "c0", "" },
	{ "clear at home, Modified elsewhere", 2, 0, "w1", "c0", "INV ACK" },
	{ "remote clear, Modified at home", 2, 0, "w0", "c1", "GETX GRANT ACK DONE" },
	{ "remote clear, untouched at home", 2, 0, "", "c1", "GETX GRANT ACK DONE" },
	{ "remote clear of a copy", 2, 0, "w0 r1", "c1", "GETX GRANT ACK DONE" },
	{ "write after another's clear", 2, 0, "w0 c1", "w0", "FWD_GETX DATA" },
	{ "second clear", 2, 0, "w0 c1", "c1", "" },
	{ "remote clear of half a page", 2, 0, "w0", "p1", "GETX DATA DONE" },
	{ "remote clear, Modified at a third", 3, 0, "w1", "c2", "GETX GRANT INV ACK DONE" },
	{ "remote clear, a third owns, home shares", 3, 0, "w1 r0", "c2",
	  "GETX GRANT INV 2*ACK DONE" },
	{ "clear at home, two others share", 3, 0, "w1 r2", "c0", "2*INV 2*ACK" },
	{ "20 alternating writers", 2, 0, "w0",
	  "w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0",
	  "10*GETX 20*DATA 10*DONE 10*FWD_GETX" },
	{ "12 writers in turn", 3, 0, "w2", "w0 w1 w2 w0 w1 w2 w0 w1 w2 w0 w1 w2",
	  "8*GETX 12*DATA 8*DONE 8*FWD_GETX" },

	{ "read moved ownership: the former owner has a copy", 2, 0, "w0 r1", "r0", "", MOVES },
	{ "read moved ownership: upgrade of the former owner", 2, 0, "w0 r1", "w0", "INV ACK",
	  MOVES },
	{ "read moved ownership: the next read is of the reader's", 3, 0, "w0 r1", "r2",
	  "GETS FWD_GETS DATA DONE", MOVES },
	{ "read moved ownership home", 3, 0, "w1 r0", "r2", "GETS DATA DONE", MOVES },
	{ "upgrade of the reader that owns", 2, 0, "w0 r1", "w1", "GETX GRANT ACK DONE", MOVES },
	{ "serial: upgrade, home shares", 2, 0, "w0 r1", "w1", "GETX GRANT DONE", SERIAL },
	{ "serial: upgrade, home and another share", 3, 0, "w0 r1 r2", "w2",
	  "GETX INV ACK GRANT DONE", SERIAL },
	{ "serial: write at home, two sharers", 3, 0, "w0 r1 r2", "w0", "2*INV 2*ACK", SERIAL },
	{ "serial: remote write, a third owns, home shares", 3, 0, "w1 r0", "w2",
	  "GETX FWD_GETX DATA DONE", SERIAL },
	{ "serial: remote clear, a third owns, home shares", 3, 0, "w1 r0", "c2",
	  "GETX INV ACK GRANT DONE", SERIAL },
	{ "node 0 owns all: first write elsewhere", 2, 1, "", "w1", "GETX ZERO DONE", NODE_0 },
	{ "node 0 is all homes: read, Modified at a third", 3, 1, "w1", "r2",
	  "GETS FWD_GETS DATA DONE", NODE_0 },
	{ "all: first write elsewhere", 3, 2, "", "w2", "GETX ZERO DONE", ALL },
	{ "all: read of what was read", 3, 1, "w1 r2", "r0", "FWD_GETS DATA", ALL },
	{ "all: upgrade, home and another share", 3, 0, "w0 r1 r2", "w2",
	  "GETX INV ACK GRANT DONE", ALL },
	{ "all: 12 writers in turn", 3, 0, "w2", "w0 w1 w2 w0 w1 w2 w0 w1 w2 w0 w1 w2",
	  "8*GETX 12*DATA 8*DONE 8*FWD_GETX", ALL },
	{ "all: 20 alternating writers", 2, 0, "w0",
	  "w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0 w1 w0",
	  "10*GETX 20*DATA 10*DONE 10*FWD_GETX", ALL },
};

static u64 expect_value[HOME_PAGES * SPAN_MAX];

/* Make the accesses of @what; each read must see the last write. */
static bool play(struct span *s, u64 page, const char *what)
{
	bool good = true;

	for (; *what; what++) {
		char *p;

		if (*what == ' ')
			continue;
		p = s->map[what[1] - '0'] + page * PAGE;
		switch (*what++) {
		case 'r':
			good &= load64(p) == expect_value[page];
			break;
		case 'w':
			store64(p, ++expect_value[page]);
			break;
		case 'c':
			span_clear(p, PAGE);
			expect_value[page] = 0;
			break;
		case 'p':
			span_clear(p + PAGE / 2, PAGE / 2);
			good &= load64(p) == expect_value[page];
		}
	}
	return good;
}

static void get_cost(const struct span *s, struct cost *c)
{
	struct numaspan_stats st;
	int i, m;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < s->args.nr_nodes; i++) {
		span_stats(s->fd[i], &st);
		for (m = 0; m < NR_COUNTED; m++)
			c->msg[m] += st.msgs_out[m];
		c->transfers += st.transfers_out;
	}
}

static void parse_expect(const char *s, struct cost *c)
{
	memset(c, 0, sizeof(*c));
	while (*s) {
		long n = 1;
		size_t len;
		bool zero;
		int m;

		if (*s >= '0' && *s <= '9')
			n = strtol(s, (char **)&s, 10);
		s += *s == '*';
		len = strcspn(s, " ");
		zero = len == 4 && !strncmp(s, "ZERO", len);
		if (zero)
			c->msg[NUMASPAN_DATA] += n;
		else if (len == 4 && !strncmp(s, "DATA", len))
			c->transfers += n;
		for (m = 0; m < NR_COUNTED; m++)
			if (strlen(msg_name[m]) == len && !strncmp(msg_name[m], s, len))
				c->msg[m] += n;
		s += len;
		s += *s == ' ';
	}
}

static void print_cost(char *buf, size_t len, const struct cost *c)
{
	size_t at = 0;
	int m;

	*buf = '\0';
	for (m = 0; m < NR_COUNTED && at < len; m++) {
		if (!c->msg[m])
			continue;
		at += snprintf(buf + at, len - at, at ? " " : "");
		if (c->msg[m] > 1)
			at += snprintf(buf + at, len - at, "%ld*", c->msg[m]);
		at += snprintf(buf + at, len - at, "%s", msg_name[m]);
	}
	if (!at)
		snprintf(buf, len, "none");
}

/* What happened between @a and @b. */
static struct cost cost_between(const struct cost *a, const struct cost *b)
{
	struct cost d = { .transfers = b->transfers - a->transfers };
	int m;

	for (m = 0; m < NR_COUNTED; m++)
		d.msg[m] = b->msg[m] - a->msg[m];
	return d;
}

static void run_scene(struct span *s, const struct scene *sc, u64 page)
{
	struct cost before, after, cost, expect;
	char got[256], want[256];
	bool values;
	long n = 0;
	int m;

	page += sc->home * HOME_PAGES;
	values = play(s, page, sc->before);
	get_cost(s, &before);
	values &= play(s, page, sc->access);
	get_cost(s, &after);
	cost = cost_between(&before, &after);
	parse_expect(sc->expect, &expect);
	for (m = 0; m < NR_COUNTED; m++)
		n += cost.msg[m];
	print_cost(got, sizeof(got), &cost);
	if (tap_ok(values && !memcmp(&cost, &expect, sizeof(cost)),
		   "%d nodes: %s: %ld messages, %ld transfers: %s", sc->nodes, sc->name, n,
		   cost.transfers, got))
		return;
	print_cost(want, sizeof(want), &expect);
	tap_diag("expected %ld transfers and %s%s", expect.transfers, want,
		 values ? "" : "; a read did not see the last write");
}

/* Many pages: what holds for one must hold for a whole home. */
static void run_bulk(struct span *s)
{
	struct cost c[4], d;
	u64 p, sum = 0;
	long n = 0;
	int m;

	/* The scenes have used some of the first pages. */
	get_cost(s, &c[0]);
	for (p = HOME_PAGES / 2; p < HOME_PAGES; p++)
		store64(s->map[0] + p * PAGE, p);
	get_cost(s, &c[1]);
	d = cost_between(&c[0], &c[1]);
	for (m = 0; m < NR_COUNTED; m++)
		n += d.msg[m];
	tap_ok(!n, "%d nodes: first touch of %d pages at their home: %ld messages",
	       s->args.nr_nodes, HOME_PAGES / 2, n);
	for (p = HOME_PAGES / 2; p < HOME_PAGES; p++)
		sum += load64(s->map[1] + p * PAGE) - p;
	get_cost(s, &c[2]);
	d = cost_between(&c[1], &c[2]);
	tap_ok(!sum && d.transfers == HOME_PAGES / 2,
	       "%d nodes: %d pages read once by another node: %ld transfers", s->args.nr_nodes,
	       HOME_PAGES / 2, d.transfers);
	for (p = HOME_PAGES / 2; p < HOME_PAGES; p++)
		sum += load64(s->map[1] + p * PAGE) - p;
	get_cost(s, &c[3]);
	d = cost_between(&c[2], &c[3]);
	tap_ok(!sum && !d.transfers, "%d nodes: and read once more: %ld transfers",
	       s->args.nr_nodes, d.transfers);
}

/* Pages that another node has written, cleared: what is sent for each is headers. */
static void run_clear(struct span *s)
{
	enum { PAGES = HOME_PAGES / 2 };
	struct numaspan_stats st[2][SPAN_MAX];
	u64 p, w, wrong = 0, bytes = 0;
	struct cost c[2], d;
	int i;

	for (p = PAGES; p < HOME_PAGES; p++)
		for (w = 0; w < PAGE; w += 8)
			store64(s->map[0] + p * PAGE + w, ~p);
	get_cost(s, &c[0]);
	for (i = 0; i < s->args.nr_nodes; i++)
		span_stats(s->fd[i], &st[0][i]);
	for (p = PAGES; p < HOME_PAGES; p++)
		span_clear(s->map[1] + p * PAGE, PAGE);
	for (i = 0; i < s->args.nr_nodes; i++) {
		span_stats(s->fd[i], &st[1][i]);
		bytes += st[1][i].bytes_out - st[0][i].bytes_out;
	}
	get_cost(s, &c[1]);
	d = cost_between(&c[0], &c[1]);
	for (p = PAGES; p < HOME_PAGES; p++)
		for (w = 0; w < PAGE; w += 8)
			wrong += !!load64(s->map[p % s->args.nr_nodes] + p * PAGE + w);
	for (i = 0; i < NR_COUNTED; i++)
		bytes -= d.msg[i] * 64;
	tap_ok(!wrong && !d.transfers && !bytes &&
	       st[1][1].cleared - st[0][1].cleared == PAGES,
	       "%d nodes: %d pages cleared by another node: %ld transfers, %llu bytes beside headers, %llu words wrong",
	       s->args.nr_nodes, PAGES, d.transfers, bytes, wrong);
}

/* The times of faults: counted like the faults, and the parts make up the whole. */
static void run_times(struct span *s)
{
	u64 faults = 0, answers = 0, sum;
	struct numaspan_stats st;
	bool good = true;
	int i, part, b;

	for (i = 0; i < s->args.nr_nodes; i++) {
		const struct numaspan_times *t = st.times;

		span_stats(s->fd[i], &st);
		faults += st.faults_read + st.faults_write;
		answers += t[NUMASPAN_PART_NETWORK].count;
		good &= t[NUMASPAN_PART_FAULT].count == st.faults_read + st.faults_write &&
			t[NUMASPAN_PART_PROTOCOL].count == t[NUMASPAN_PART_FAULT].count &&
			t[NUMASPAN_PART_NETWORK].count <= t[NUMASPAN_PART_FAULT].count &&
			t[NUMASPAN_PART_INSTALL].count == t[NUMASPAN_PART_NETWORK].count &&
			/* No guest's CPU has made one. */
			!t[NUMASPAN_PART_EXIT].count;
		for (sum = 0, part = 0; part < NUMASPAN_NR_PARTS; part++) {
			u64 count = 0;

			sum += t[part].sum_ns;
			for (b = 0; b < NUMASPAN_TIME_BUCKETS; b++)
				count += t[part].log2[b];
			good &= count == t[part].count;
		}
		good &= sum == 2 * t[NUMASPAN_PART_FAULT].sum_ns && sum;
	}
	tap_ok(good && answers && answers <= faults,
	       "%d nodes: times of %llu faults, of %llu answers, the parts make up the whole",
	       s->args.nr_nodes, faults, answers);
}

static void run_nodes(int nodes, int transport, int policy)
{
	struct span s = { };
	char what[SPAN_TEXT];
	bool good;
	size_t i;

	span_args(&s.args, nodes, HOME_PAGES, HOME_PAGES * nodes + 64);
	s.args.transport = transport;
	s.args.policy = policy;
	span_up(&s);
	span_catch_sigbus(&s);
	for (i = 0; i < (size_t)nodes; i++)
		span_clears(s.fd[i]);
	memset(expect_value, 0, sizeof(expect_value));
	for (i = 0; i < sizeof(scenes) / sizeof(*scenes); i++)
		if (scenes[i].nodes == nodes && scenes[i].policy == policy)
			run_scene(&s, &scenes[i], i);
	run_bulk(&s);
	run_clear(&s);
	run_times(&s);
	good = span_copies(&s, what);
	tap_ok(good, "%s", what);
	span_down(&s);
}

/* Read pages @from, @from + @step and so on; true if each has what was written. */
static bool read_pages(const struct span *s, long from, long step, long n)
{
	bool good = true;

	for (; n; n--, from += step)
		good &= load64(s->map[1] + from * PAGE) == (u64)from + 1;
	return good;
}

/*
 * 64 MiB of node 0, read by node 1: who reads on and on has few faults ask for a page, who jumps
 * about has little asked for.  A fault for a page that is on its way waits, and asks for nothing.
 */
static void run_prefetch(int transport)
{
	enum { PAGES = 16384, ON = PAGES * 3 / 4, BACK = PAGES - ON, RANDOM = 4096 };
	struct numaspan_stats st[5];
	struct span s = { };
	u64 rng = 1, prefetched, used, late = 0;
	char what[SPAN_TEXT];
	bool good;
	long i, p;

	span_args(&s.args, 2, PAGES, 2 * PAGES);
	s.args.transport = transport;
	s.args.prefetch = 32;
	span_up(&s);
	span_catch_sigbus(&s);
	for (i = 0; i < PAGES; i++)
		store64(s.map[0] + i * PAGE, i + 1);

	span_stats(s.fd[1], &st[0]);
	good = read_pages(&s, 0, 1, ON);
	span_stats(s.fd[1], &st[1]);
	used = st[1].prefetch_used - st[0].prefetch_used;
	prefetched = st[1].prefetched - st[0].prefetched;
	tap_ok(good && ON - (long long)used <= ON / 8,
	       "prefetch: %d pages read in order: %lld were asked for by a fault", ON,
	       ON - (long long)used);
	tap_diag("%llu faults waited, most of them for a page on its way",
		 st[1].faults_read - st[0].faults_read);
	tap_ok(used * 100 >= prefetched * 95 && prefetched,
	       "prefetch: %llu of %llu prefetched pages were used", used, prefetched);

	good = read_pages(&s, PAGES - 1, -1, BACK);
	span_stats(s.fd[1], &st[2]);
	used = st[2].prefetch_used - st[1].prefetch_used;
	tap_ok(good && BACK - (long long)used <= BACK / 8,
	       "prefetch: %d pages read backwards: %lld were asked for by a fault", BACK,
	       BACK - (long long)used);

	for (i = 0; i < PAGES; i++)
		store64(s.map[0] + i * PAGE, i + 1);
	span_stats(s.fd[1], &st[2]);
	for (i = 0; i < RANDOM; i++) {
		rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
		good &= read_pages(&s, (rng >> 33) % PAGES, 0, 1);
	}
	span_stats(s.fd[1], &st[3]);
	prefetched = st[3].prefetched - st[2].prefetched;
	tap_ok(good && prefetched * 20 < RANDOM,
	       "prefetch: %d pages read in random order: %llu prefetched", RANDOM, prefetched);

	/* Four pages are asked for after the third.  Who writes to them has them at once. */
	for (p = 16; p < PAGES - 16; p += 1024) {
		for (i = 0; i < 7; i++)
			store64(s.map[0] + (p + i) * PAGE, p + i + 1);
		good &= read_pages(&s, p, 1, 3);
		for (i = 3; i < 7; i++)
			store64(s.map[0] + (p + i) * PAGE, ~(u64)p);
		for (i = 3; i < 7; i++)
			late += load64(s.map[1] + (p + i) * PAGE) != ~(u64)p;
	}
	span_stats(s.fd[1], &st[4]);
	tap_ok(good && !late && st[4].held == st[3].held && st[4].prefetched > st[3].prefetched,
	       "prefetch: %llu pages, written before they were read: %llu old values, %llu held",
	       st[4].prefetched - st[3].prefetched, late, st[4].held - st[3].held);
	good = span_copies(&s, what);
	tap_ok(good, "prefetch: %s", what);
	span_down(&s);

	span_args(&s.args, 2, 1024, 64);
	s.args.transport = transport;
	s.args.prefetch = 32;
	span_up(&s);
	for (i = 0; i < 1024; i++)
		store64(s.map[0] + i * PAGE, i + 1);
	good = read_pages(&s, 0, 1, 1024);
	span_stats(s.fd[1], &st[0]);
	tap_ok(good && st[0].cache_peak <= 64, "prefetch: at most %llu copies of 64",
	       st[0].cache_peak);
	span_down(&s);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "transport", required_argument, NULL, 't' },
		{ "policy", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int transport = NUMASPAN_LOOPBACK, policy = 0, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h') {
			printf("usage: devcount [--transport loopback|tcp|rdma] [--policy POLICY]\n"
			       "Counts messages and transfers of each kind of access; TAP.\n");
			return 0;
		}
		if (c == 't')
			transport = span_transport("devcount", optarg);
		else if (c == 'p')
			policy = span_policy("devcount", optarg);
		else
			return 2;
	}
	run_nodes(2, transport, policy);
	run_nodes(3, transport, policy);
	if (!policy)
		run_prefetch(transport);
	return tap_done();
}
