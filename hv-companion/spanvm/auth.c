// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshake on every new connection, control or data.  Both sides prove that they
 * hold the span's key by a MAC over both hellos, which carry fresh nonces, the span, both
 * node numbers, the version, the incarnation, the role of the connection and a digest of
 * the configuration; the two MACs have different labels, so neither can be reflected.
 * The acceptor speaks last, so after a handshake nothing of it is left unread on either
 * side.  Nothing that a peer sent is used before its MAC has been checked, except to say
 * why it is refused.  A handshake goes on when its socket is ready and never waits, so that
 * any number are under way at once and nobody holds up another.
 */
#include <err.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "spanvm.h"

#define HELLO_MAGIC	0x4c4c4548
#define VERDICT_LEN	offsetof(struct proof, mac)

enum verdict {
	V_OK, V_VERSION, V_SPAN, V_KEY, V_NODE, V_CONFIG, V_INCARNATION, V_DUPLICATE, V_NR
};

static const char *const verdicts[] = {
	[V_OK] = "accepted",
	[V_VERSION] = "another version of spanvm",
	[V_SPAN] = "another span's id",
	[V_KEY] = "wrong key",
	[V_NODE] = "wrong node number",
	[V_CONFIG] = "another configuration (memory, cpus, transport, timeout, hold, policy ...)",
	[V_INCARNATION] = "another incarnation of the span",
	[V_DUPLICATE] = "already connected",
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
	memcpy(buf + n + alen, b, blen);
	if (!HMAC(EVP_sha256(), c->key, c->key_len, buf, n + alen + blen, mac, &len) ||
	    len != MAC_LEN)
		errx(1, "HMAC-SHA-256: not available in libcrypto");
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
	if (!EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL))
		errx(1, "SHA-256: not available in libcrypto");
}

/**
 * auth_random - bytes that nobody can predict
 * @p: where
 * @len: how many, at most 256
 */
void auth_random(void *p, size_t len)
{
	if (getrandom(p, len, 0) != (ssize_t)len)
		err(1, "getrandom");
}

/* A handshake fits in what a fresh connection takes without blocking. */
static int put(struct shake *s, const void *buf, size_t len)
{
	ssize_t n = send(s->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == (ssize_t)len)
		return AUTH_MORE;
	return n < 0 ? -errno : -ENOBUFS;
}

static void fill_hello(const struct vmm *vm, struct hello *h, u32 to, enum conn_role role)
{
	const struct config *c = vm->cfg;

	*h = (struct hello){ .magic = HELLO_MAGIC, .version = LINK_VERSION, .span_id = c->span_id,
		.from = c->node, .to = to, .role = role, .incarnation = vm->incarnation };
	config_digest(c, h->digest);
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

/* The MAC over both hellos, the dialer's first. */
static void prove(struct vmm *vm, const char *label, const struct hello *dialer,
		  const struct hello *acceptor, u8 mac[MAC_LEN])
{
	auth_mac(vm->cfg, label, dialer, sizeof(*dialer), acceptor, sizeof(*acceptor), mac);
}

/* The acceptor's verdict, which says whether the handshake goes on. */
static int heed(struct vmm *vm, const struct shake *s, const struct proof *in, int go_on)
{
	const u32 v = in->magic == HELLO_MAGIC ? in->verdict : V_VERSION;

	if (v == V_OK)
		return go_on;
	span_fail(vm, "node %u at %s refused us: %s", s->peer, vm->cfg->nodes[s->peer].addr.text,
		  v < V_NR ? verdicts[v] : "reason unknown");
	return -EACCES;
}

static int dial_step(struct vmm *vm, struct shake *s)
{
	const struct proof *in = &s->in.answer.proof;
	struct proof out = { .magic = HELLO_MAGIC };
	u8 want[MAC_LEN];
	int r;

	switch (s->want) {
	case 0:
		fill_hello(vm, &s->mine, s->peer, s->role);
		s->want = VERDICT_LEN;
		return put(s, &s->mine, sizeof(s->mine));
	case VERDICT_LEN:
		s->want = sizeof(*in);
		return heed(vm, s, in, AUTH_MORE);
	case sizeof(*in):
		prove(vm, "accept", &s->mine, &in->hello, want);
		out.verdict = CRYPTO_memcmp(want, in->mac, MAC_LEN) ? V_KEY :
			      compare(&s->mine, &in->hello);
		if (out.verdict == V_OK)
			prove(vm, "dial", &s->mine, &in->hello, out.mac);
		r = put(s, &out, offsetof(struct proof, hello));
		s->want += VERDICT_LEN;
		if (out.verdict == V_OK)
			return r;
		span_fail(vm, "refused node %u at %s: %s", s->peer,
			  vm->cfg->nodes[s->peer].addr.text, verdicts[out.verdict]);
		return -EACCES;
	}
	return heed(vm, s, &s->in.answer.last, 0);
}

static int refuse(struct vmm *vm, struct shake *s, u32 v)
{
	struct proof out = { .magic = HELLO_MAGIC, .verdict = v };

	put(s, &out, VERDICT_LEN);
	say(vm, "refused %s: %s", s->who, verdicts[v]);
	return -EACCES;
}

static int accept_step(struct vmm *vm, struct shake *s)
{
	const struct hello *h = &s->in.question.hello;
	const struct proof *in = &s->in.question.proof;
	struct proof out = { .magic = HELLO_MAGIC };
	u8 want[MAC_LEN];
	u32 v;
	int r;

	switch (s->want) {
	case 0:
		s->want = offsetof(struct hello, span_id);
		return AUTH_MORE;
	case offsetof(struct hello, span_id):
		if (h->magic != HELLO_MAGIC) {
			say(vm, "refused %s: not spanvm", s->who);
			return -EACCES;
		}
		s->want = sizeof(*h);
		return h->version == LINK_VERSION ? AUTH_MORE : refuse(vm, s, V_VERSION);
	case sizeof(*h):
		fill_hello(vm, &s->mine, h->from, h->role);
		v = compare(&s->mine, h);
		if (v == V_OK && (h->from >= vm->cfg->nr_nodes || h->from <= vm->cfg->node ||
				  (h->role != ROLE_CONTROL && h->role != ROLE_DATA)))
			v = V_NODE;
		if (v != V_OK)
			return refuse(vm, s, v);
		out.hello = s->mine;
		prove(vm, "accept", h, &s->mine, out.mac);
		s->want += offsetof(struct proof, hello);
		return put(s, &out, sizeof(out));
	}
	prove(vm, "dial", h, &s->mine, want);
	if (in->magic != HELLO_MAGIC || in->verdict != V_OK ||
	    CRYPTO_memcmp(want, in->mac, MAC_LEN))
		return refuse(vm, s, V_KEY);
	s->peer = h->from;
	s->role = h->role;
	/* Asked last: who only says a peer's name must not keep it out. */
	if (*link_fd(vm, s->peer, s->role) >= 0)
		return refuse(vm, s, V_DUPLICATE);
	r = put(s, &out, VERDICT_LEN);
	return r == AUTH_MORE ? 0 : r;
}

/**
 * auth_step - go on with a handshake
 * @vm: this node
 * @s: the handshake; its socket is readable, or writable where @s->want is 0
 *
 * Never waits.
 *
 * Return: AUTH_MORE while it is under way; 0 when both sides are sure: @s->peer and @s->role
 * say of whom.  -EACCES when one side refuses the other, which has been said, and has ended the
 * span if this side dialed; another negative errno when the connection failed.
 */
int auth_step(struct vmm *vm, struct shake *s)
{
	ssize_t n;

	if (s->got < s->want) {
		n = recv(s->fd, s->in.bytes + s->got, s->want - s->got, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return AUTH_MORE;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		s->got += n;
	}
	if (s->got < s->want)
		return AUTH_MORE;
	return s->dialed ? dial_step(vm, s) : accept_step(vm, s);
}
