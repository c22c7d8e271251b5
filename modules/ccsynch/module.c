// SPDX-License-Identifier: GPL-2.0-only
/*
 * ccsynch as a module, for stock kernels: the core's exported functions, and its defaults as
 * parameters.
 */
#include <linux/module.h>

#include "ccsynch.c"

module_param_named(batch, ccsynch_params.batch, uint, 0444);
MODULE_PARM_DESC(batch, "operations that a combiner runs in a row");
module_param_named(tenure, ccsynch_params.tenure, uint, 0444);
MODULE_PARM_DESC(tenure, "operations after which a node lets another in");
module_param_named(keep, ccsynch_params.keep, uint, 0444);
MODULE_PARM_DESC(keep, "so many times what the lock's coming took a node keeps it in any case");
module_param_named(groups, ccsynch_params.groups, uint, 0444);
MODULE_PARM_DESC(groups, "so many queues, each for some nodes; 0: one for each node");

static int __init ccsynch_module_init(void)
{
	return ccsynch_check_params(&ccsynch_params) ?: ccsynch_setup();
}
module_init(ccsynch_module_init);

static void __exit ccsynch_module_exit(void)
{
	ccsynch_teardown();
}
module_exit(ccsynch_module_exit);

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("Lock that runs operations, combined on each node");
MODULE_LICENSE("GPL");
