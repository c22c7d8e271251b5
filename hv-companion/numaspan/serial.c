// SPDX-License-Identifier: GPL-2.0-only
/*
 * NUMASPAN_POLICY_SERIAL, a part of the protocol: sharers of a page that is written are invalidated
 * one after the other, as published systems do it, and acknowledge to the home.
 *
 * Pure functions like those of protocol.c, which see.  While ns_dir.busy is NS_BUSY_INVAL the
 * copyset has those who are still to be told, ns_dir.told among them, and the owner is the one
 * before the write.
 */
#include "protocol.h"

/**
 * ns_serial_next() - tell the next sharer to forget the page
 * @pl:		where
 * @d:		directory entry of a page with a write under way
 * @others:	who has to be told, somebody
 * @need:	NS_NEED_NOTHING if nobody needs the contents
 * @out:	what is to be done
 */
void ns_serial_next(const struct ns_place *pl, struct ns_dir *d, u64 others, u8 need,
		    struct ns_out *out)
{
	d->busy = NS_BUSY_INVAL;
	for (d->told = 0; !(others & BIT_ULL(d->told)); d->told++)
		;
	out->act[out->n++] = (struct ns_act){
		.op = NS_ACT_SEND,
		.to = BIT_ULL(d->told),
		.msg = { .type = NUMASPAN_INV, .from = pl->self, .requester = pl->home,
			 .have = need, .txn = d->txn },
	};
}

/**
 * ns_serial_acked() - a sharer says that it has forgotten the page
 * @d:		directory entry
 * @m:		the ACK
 * @out:	what is to be done
 *
 * Return: 1: go on with the write; 0; or -EPROTO with @out->why set.
 */
int ns_serial_acked(struct ns_dir *d, const struct ns_msg *m, struct ns_out *out)
{
	if (m->txn > d->txn) {
		out->why = "acknowledgment of a transaction that has not begun";
		return -EPROTO;
	}
	if (d->busy != NS_BUSY_INVAL || m->txn != d->txn || m->from != d->told) {
		out->act[out->n++] = (struct ns_act){ .op = NS_ACT_STALE };
		return 0;
	}
	d->busy = 1;
	d->copyset &= ~BIT_ULL(m->from);
	return 1;
}
