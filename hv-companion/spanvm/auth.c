// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshake on every new connection, control or data.  Both sides prove that they
 * hold the span's key by a MAC over both hellos, which carry fresh nonces, the span, both
 * node numbers, the version, the incarnation, the role of the connection and a digest of
 * the configuration; the two MACs have different labels, so neither can be reflected.
 * The acceptor speaks last, so after a handshake nothing of it is left unread on either
 * side.  Nothing that a peer sent is used before its MAC has been checked, except to say
 * why it is refused.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "spanvm.h"

#define HELLO_MAGIC	0x4c4c4548

enum verdict {
	V_OK, V_VERSION, V_SPAN, V_KEY, V_NODE, V_CONFIG, V_INCARNATION, V_DUPLICATE, V_NR
};

static const char *const verdicts[] = {
	[V_OK] = "accepted",
	[V_VERSION] = "another version of spanvm",
	[V_SPAN] = "another span's id",
	[V_KEY] = "wrong key",
	[V_NODE] = "wrong node number",
	[V_CONFIG] = "another configuration (nodes, memory, cpus, transport, timeout, hold)",
	[V_INCARNATION] = "another incarnation of the span",
	[V_DUPLICATE] = "already connected",
};

/* What the dialer says first, and the acceptor answers with. */
struct hello {
	u32 magic, version;	/* these two never move */
	u64 span_id;
	u32 from, to, role, incarnation;
	u8 digest[MAC_LEN];
	u8 nonce[NONCE_LEN];
};

/* A refusal and the acceptor's last word end before the MAC, the dialer's before the hello. */
struct proof {
	u32 magic, verdict;
	u8 mac[MAC_LEN];
	struct hello hello;
};

/**
 * auth_mac - HMAC-SHA-256 with the span's key over a label and two byte strings
 * @c: holds the key
 * @label: what the MAC is for
 * @a: first string
 * @alen: its length, fixed for each label
 * @b: second string
 * @blen: its length
 * @mac: the result
 */
void auth_mac(const struct config *c, const char *label, const void *a, size_t alen,
	      const void *b, size_t blen, u8 mac[MAC_LEN])
{
	size_t n = strlen(label) + 1;
	u8 *buf = xzalloc(n + alen + blen);
	unsigned int len = 0;

	memcpy(buf, label, n);
	memcpy(buf + n, a, alen);
	if (blen)
		memcpy(buf + n + alen, b, blen);
	if (!HMAC(EVP_sha256(), c->key, c->key_len, buf, n + alen + blen, mac, &len) ||
	    len != MAC_LEN) {
		fprintf(stderr, "spanvm: HMAC-SHA-256: not available in libcrypto\n");
		exit(1);
	}
	free(buf);
}

/**
 * auth_digest - SHA-256
 * @p: bytes
 * @len: how many
 * @out: the digest
 */
void auth_digest(const void *p, size_t len, u8 out[MAC_LEN])
{
	if (!EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL)) {
		fprintf(stderr, "spanvm: SHA-256: not available in libcrypto\n");
		exit(1);
	}
}

/**
 * auth_random - bytes that nobody can predict
 * @p: where
 * @len: how many, at most 256
 */
void auth_random(void *p, size_t len)
{
	if (getrandom(p, len, 0) != (ssize_t)len) {
		fprintf(stderr, "spanvm: getrandom: %s\n", strerror(errno));
		exit(1);
	}
}

static int wait_fd(int fd, short events, u64 until_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	u64 now = now_ns();

	if (now >= until_ns)
		return -ETIMEDOUT;
	return poll(&p, 1, (until_ns - now) / 1000000 + 1) < 0 && errno != EINTR ? -errno : 0;
}

static int get(int fd, void *buf, size_t len, u64 until_ns)
{
	size_t done = 0;
	ssize_t n;
	int r;

	while (done < len) {
		r = wait_fd(fd, POLLIN, until_ns);
		if (r)
			return r;
		n = recv(fd, (u8 *)buf + done, len - done, MSG_DONTWAIT);
		if (!n)
			return -ECONNRESET;
		if (n > 0)
			done += n;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return 0;
}

static int put(int fd, const void *buf, size_t len, u64 until_ns)
{
	size_t done = 0;
	ssize_t n;
	int r;

	while (done < len) {
		n = send(fd, (const u8 *)buf + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			done += n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_fd(fd, POLLOUT, until_ns);
		if (r)
			return r;
	}
	return 0;
}

static void fill_hello(const struct vmm *vm, struct hello *h, u32 to, enum conn_role role)
{
	const struct config *c = vm->cfg;
	u8 buf[4096];
	size_t len;

	memset(h, 0, sizeof(*h));
	h->magic = HELLO_MAGIC;
	h->version = LINK_VERSION;
	h->span_id = c->span_id;
	h->from = c->node;
	h->to = to;
	h->role = role;
	h->incarnation = vm->incarnation;
	config_digest_input(c, buf, &len, sizeof(buf));
	auth_digest(buf, len, h->digest);
	auth_random(h->nonce, sizeof(h->nonce));
}

/* All that the two hellos have to agree on, but not the proof of the key. */
static enum verdict compare(const struct hello *mine, const struct hello *theirs)
{
	if (theirs->span_id != mine->span_id)
		return V_SPAN;
	if (theirs->to != mine->from || theirs->from != mine->to || theirs->role != mine->role)
		return V_NODE;
	if (memcmp(theirs->digest, mine->digest, sizeof(mine->digest)))
		return V_CONFIG;
	if (theirs->incarnation != mine->incarnation)
		return V_INCARNATION;
	return V_OK;
}

static int refused_by(struct vmm *vm, u32 peer, u32 verdict)
{
	span_end(vm, END_FAIL, 1, false, "node %u at %s refused us: %s", peer,
		 vm->cfg->nodes[peer].addr.text,
		 verdict < V_NR ? verdicts[verdict] : "reason unknown");
	return -EACCES;
}

/**
 * auth_dial - the dialing side of the handshake
 * @vm: this node
 * @fd: a connected socket
 * @peer: the node that should be at the other end
 * @role: what the connection is for
 * @until_ns: give up then
 *
 * Return: 0; -EACCES after span_end() when one side refuses the other; another negative
 * errno when the connection failed and may be tried again.
 */
int auth_dial(struct vmm *vm, int fd, u32 peer, enum conn_role role, u64 until_ns)
{
	struct hello mine;
	struct proof in, out;
	u8 want[MAC_LEN];
	u32 v;
	int r;

	fill_hello(vm, &mine, peer, role);
	r = put(fd, &mine, sizeof(mine), until_ns);
	if (!r)
		r = get(fd, &in, offsetof(struct proof, mac), until_ns);
	if (r)
		return r;
	if (in.magic != HELLO_MAGIC)
		return refused_by(vm, peer, V_VERSION);
	if (in.verdict != V_OK)
		return refused_by(vm, peer, in.verdict);
	r = get(fd, in.mac, sizeof(in) - offsetof(struct proof, mac), until_ns);
	if (r)
		return r;
	auth_mac(vm->cfg, "accept", &mine, sizeof(mine), &in.hello, sizeof(in.hello), want);
	v = CRYPTO_memcmp(want, in.mac, MAC_LEN) ? V_KEY : compare(&mine, &in.hello);
	memset(&out, 0, sizeof(out));
	out.magic = HELLO_MAGIC;
	out.verdict = v;
	if (v == V_OK)
		auth_mac(vm->cfg, "dial", &mine, sizeof(mine), &in.hello, sizeof(in.hello),
			 out.mac);
	r = put(fd, &out, offsetof(struct proof, hello), until_ns);
	if (v != V_OK) {
		span_end(vm, END_FAIL, 1, false, "refused node %u at %s: %s", peer,
			 vm->cfg->nodes[peer].addr.text, verdicts[v]);
		return -EACCES;
	}
	if (!r)
		r = get(fd, &in, offsetof(struct proof, mac), until_ns);
	if (r)
		return r;
	return in.magic == HELLO_MAGIC && in.verdict == V_OK ? 0 :
	       refused_by(vm, peer, in.verdict);
}

static int refuse(struct vmm *vm, int fd, const char *who, u32 v, u64 until_ns)
{
	struct proof out = { .magic = HELLO_MAGIC, .verdict = v };

	put(fd, &out, offsetof(struct proof, mac), until_ns);
	say(vm, "refused %s: %s", who, verdicts[v]);
	return -EACCES;
}

/**
 * auth_accept - the accepting side of the handshake
 * @vm: this node
 * @fd: an accepted socket
 * @who: its address, for messages
 * @until_ns: give up then
 * @peer: the node at the other end
 * @role: what the connection is for
 *
 * Return: 0, or a negative errno; the reason was said on stderr.
 */
int auth_accept(struct vmm *vm, int fd, const char *who, u64 until_ns, u32 *peer,
		enum conn_role *role)
{
	const size_t fixed = offsetof(struct hello, span_id);
	struct hello theirs;
	struct proof in, out;
	u8 want[MAC_LEN];
	struct peer *p;
	u32 v;
	int r;

	r = get(fd, &theirs, fixed, until_ns);
	if (r)
		goto broken;
	if (theirs.magic != HELLO_MAGIC) {
		say(vm, "refused %s: not spanvm", who);
		return -EACCES;
	}
	if (theirs.version != LINK_VERSION)
		return refuse(vm, fd, who, V_VERSION, until_ns);
	r = get(fd, (u8 *)&theirs + fixed, sizeof(theirs) - fixed, until_ns);
	if (r)
		goto broken;
	memset(&out, 0, sizeof(out));
	out.magic = HELLO_MAGIC;
	fill_hello(vm, &out.hello, theirs.from, theirs.role);
	v = compare(&out.hello, &theirs);
	if (v == V_OK && (theirs.from >= vm->cfg->nr_nodes || theirs.from <= vm->cfg->node ||
			  (theirs.role != ROLE_CONTROL && theirs.role != ROLE_DATA)))
		v = V_NODE;
	p = &vm->peers[theirs.from % MAX_NODES];
	if (v == V_OK && (theirs.role == ROLE_CONTROL ? p->fd : p->data_fd) >= 0)
		v = V_DUPLICATE;
	if (v != V_OK)
		return refuse(vm, fd, who, v, until_ns);
	auth_mac(vm->cfg, "accept", &theirs, sizeof(theirs), &out.hello, sizeof(out.hello),
		 out.mac);
	r = put(fd, &out, sizeof(out), until_ns);
	if (!r)
		r = get(fd, &in, offsetof(struct proof, hello), until_ns);
	if (r)
		goto broken;
	auth_mac(vm->cfg, "dial", &theirs, sizeof(theirs), &out.hello, sizeof(out.hello), want);
	if (in.magic != HELLO_MAGIC || in.verdict != V_OK ||
	    CRYPTO_memcmp(want, in.mac, MAC_LEN))
		return refuse(vm, fd, who, V_KEY, until_ns);
	out.verdict = V_OK;
	r = put(fd, &out, offsetof(struct proof, mac), until_ns);
	if (r)
		goto broken;
	*peer = theirs.from;
	*role = theirs.role;
	return 0;
broken:
	say(vm, "refused %s: handshake not completed (%s)", who, strerror(-r));
	return r;
}
