/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parameters of the modules that try locks out.  One that cannot be is refused with a line in
 * the log that names the value and what was expected; who includes this has set pr_fmt.
 */
#ifndef MODULES_PARAMS_H
#define MODULES_PARAMS_H

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/printk.h>
#include <linux/string.h>

/**
 * check_number - is a parameter within its bounds?
 * @name: the parameter's
 * @value: what it is
 * @min: the least that it may be
 * @max: the most
 *
 * Context: any.
 * Return: 0, or -EINVAL with a line in the log.
 */
static inline int check_number(const char *name, unsigned int value, unsigned int min,
			       unsigned int max)
{
	if (value >= min && value <= max)
		return 0;
	pr_err("%s=%u: expected %u to %u\n", name, value, min, max);
	return -EINVAL;
}

/**
 * find_word - which of some words is a parameter?
 * @name: the parameter's
 * @value: what it is
 * @words: what it may be
 * @n: so many
 *
 * Context: any.
 * Return: the word's index, or -EINVAL with a line in the log.
 */
static inline int find_word(const char *name, const char *value, const char * const *words,
			    unsigned int n)
{
	char text[128];
	unsigned int i;
	size_t len = 0;

	for (i = 0; i < n; i++)
		if (!strcmp(value, words[i]))
			return i;
	for (i = 0; i < n; i++)
		len += scnprintf(text + len, sizeof(text) - len, "%s%s",
				 !i ? "" : i < n - 1 ? ", " : " or ", words[i]);
	pr_err("%s=%s: expected %s\n", name, value, text);
	return -EINVAL;
}

#endif
