/* SPDX-License-Identifier: GPL-2.0-only */
/* The C library's <errno.h> takes its numbers from this name, so they have to be there. */
#include <asm/errno.h>
