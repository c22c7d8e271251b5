// SPDX-License-Identifier: GPL-2.0-only
/*
 * A man in the middle who has no key: carries the TCP connections between two spanvm, bytes as
 * they come, until SIGUSR1 says to damage one of them, in one direction, in the way that was
 * asked for.  What he does he does to what passes next, so it always hits a running span.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "span.h"

#define CONNECTIONS	2	/* node 1 makes the control connection first, then the data one */
#define NR_RANDOM	100000
#define RANDOM_LEN	64	/* a message of the data connection; the others are shorter */

static const char * const connections[CONNECTIONS] = { "control", "data" };

enum damage { FLIP, DROP, REPEAT, RANDOM, NR_DAMAGES };

static const char * const damages[NR_DAMAGES] = { "flip", "drop", "repeat", "random" };

struct stream {
	int from, to;
	bool chosen;
};

static enum damage damage;
static atomic_bool now;
static u64 seed;

static void on_usr1(int sig)
{
	(void)sig;
	atomic_store(&now, true);
}

/* False when the other side takes no more. */
static bool put(int fd, const char *p, size_t len)
{
	ssize_t n;

	while (len) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

static bool put_random(int fd)
{
	u64 buf[RANDOM_LEN / sizeof(u64)];
	size_t i;
	long n;

	for (n = 0; n < NR_RANDOM; n++) {
		for (i = 0; i < sizeof(buf) / sizeof(*buf); i++)
			buf[i] = next_random(&seed);
		if (!put(fd, (char *)buf, sizeof(buf)))
			break;
	}
	tap_diag("%ld random messages of %d sent", n, NR_RANDOM);
	return n == NR_RANDOM;
}

/* Send @len bytes that came, and something is wrong with them. */
static bool meddle(int fd, char *p, size_t len)
{
	size_t at = next_random(&seed) % len;

	tap_diag("%s: byte %zu of %zu", damages[damage], at, len);
	switch (damage) {
	case FLIP:
		p[at] ^= 1 << next_random(&seed) % 8;
		return put(fd, p, len);
	case DROP:
		return put(fd, p, at) && put(fd, p + at + 1, len - at - 1);
	case REPEAT:
		return put(fd, p, at + 1) && put(fd, p + at, len - at);
	default:
		return put(fd, p, len) && put_random(fd);
	}
}

static void *carry(void *arg)
{
	struct stream *s = arg;
	char buf[65536];
	bool good;
	ssize_t n;

	do {
		n = recv(s->from, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (s->chosen && atomic_exchange(&now, false))
			good = meddle(s->to, buf, n);
		else
			good = put(s->to, buf, n);
	} while (good);
	shutdown(s->from, SHUT_RD);
	shutdown(s->to, SHUT_WR);
	return NULL;
}

static struct sockaddr_in port(int number)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(number) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int listen_on(int number)
{
	struct sockaddr_in a = port(number);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (void *)&a, sizeof(a)) || listen(fd, CONNECTIONS))
		tap_bail("listen on 127.0.0.1:%d: %s", number, strerror(errno));
	return fd;
}

/* A connection to where the next one that comes should go; node 0 may not listen yet. */
static int dial(int number)
{
	struct sockaddr_in a = port(number);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (void *)&a, sizeof(a)))
		tap_bail("connect to 127.0.0.1:%d: %s", number, strerror(errno));
	return fd;
}

static void help(void)
{
	printf("usage: devmeddle --listen PORT --connect PORT --damage flip|drop|repeat|random\n"
	       "                 --connection control|data --to NODE\n"
	       "Carries the connections of node 1 to node 0; on SIGUSR1 damages what passes next\n"
	       "on one of them, to node 0 or 1.  Ends with them.\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "connect", required_argument, NULL, 'c' },
		{ "damage", required_argument, NULL, 'd' },
		{ "connection", required_argument, NULL, 'o' },
		{ "to", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	struct sigaction sa = { .sa_handler = on_usr1 };
	int from = 0, to = 0, connection = 0, node = 0, sock[2], one = 1, l, c, i;
	struct stream s[2 * CONNECTIONS];
	pthread_t t[2 * CONNECTIONS];

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			from = span_number("devmeddle", "--listen", optarg, 1, 65535);
			break;
		case 'c':
			to = span_number("devmeddle", "--connect", optarg, 1, 65535);
			break;
		case 'd':
			damage = span_choice("devmeddle", "--damage", optarg, damages,
					     NR_DAMAGES);
			break;
		case 'o':
			connection = span_choice("devmeddle", "--connection", optarg,
						 connections, CONNECTIONS);
			break;
		case 't':
			node = span_number("devmeddle", "--to", optarg, 0, 1);
			break;
		case 'h':
			help();
			return 0;
		default:
			return 2;
		}
	}
	if (!from || !to) {
		fprintf(stderr, "devmeddle: no --listen or no --connect: expected both\n");
		return 2;
	}
	sigaction(SIGUSR1, &sa, NULL);
	l = listen_on(from);
	tap_diag("listening");
	for (c = 0; c < CONNECTIONS; c++) {
		sock[1] = accept(l, NULL, NULL);
		if (sock[1] < 0)
			tap_bail("accept: %s", strerror(errno));
		sock[0] = dial(to);
		for (i = 0; i < 2; i++) {
			setsockopt(sock[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			s[2 * c + i] = (struct stream){ sock[!i], sock[i],
				c == connection && i == node };
			if (pthread_create(&t[2 * c + i], NULL, carry, &s[2 * c + i]))
				tap_bail("no thread");
		}
	}
	close(l);
	for (i = 0; i < 2 * CONNECTIONS; i++)
		pthread_join(t[i], NULL);
	tap_ok(!atomic_load(&now), "carried %d connections to their end", CONNECTIONS);
	return tap_done();
}
