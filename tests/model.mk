# SPDX-License-Identifier: GPL-2.0-only
#
# What the models' Makefiles have in common.
#
#	make check	exhaustive, and every planted bug is found: TAP
#	make soak	a larger model: minutes, several GiB

all:

check:
	@./check

soak:
	@./check soak

clean:
	rm -rf build

.PHONY: all check soak clean
