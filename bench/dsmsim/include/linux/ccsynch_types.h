/* SPDX-License-Identifier: GPL-2.0-only */
/* Forwards to the core's own header, found by the include path that the Makefile gives. */
#include <ccsynch_types.h>
