/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the core, as part of a kernel, finds its header. */
#include "../../ccsynch_types.h"
