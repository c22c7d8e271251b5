// SPDX-License-Identifier: GPL-2.0-only
/*
 * pernode_rwsem as a module, for stock kernels: the core's exported functions, no more.
 */
#include <linux/module.h>

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("Reader-writer semaphore whose readers touch their own node only");
MODULE_LICENSE("GPL");
