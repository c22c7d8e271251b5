/* SPDX-License-Identifier: GPL-2.0-only */
/* Forwards to the shim, which has the kernel names that the lock cores use. */
#include <shim.h>
