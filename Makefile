# One verb a file in tools/; this only gives them their usual names. ARGS='…' passes arguments on.
.PHONY: help setup check test demo walk bench crash mutate soak

help: ## list what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

setup: ## make .venv from the lock file; nothing to do if nothing changed
	@tools/setup

check: ## layout, lint, types, layers: seconds
	@tools/check

test: ## every test but the long proofs
	@tools/test $(ARGS)

demo: ## replay the breach, act by act
	@tools/demo $(ARGS)

walk: ## day one in a lab of 1,000 people and 2 million events, every report held against the truth
	@tools/walk

bench: ## compare with nginx, rclone and the bare store, in one run
	@tools/bench $(ARGS)

crash: ## kill the server 500 and the ledger 1,000 times under load, fail each of its system calls, drop what was not synced
	@tools/crash

mutate: ## break the verifying code in one place at a time; every mutant must be noticed by a test
	@tools/mutate $(ARGS)

soak: ## the same with 2,000 and 10,000 kills, all long proofs, and 10,000 leaks among 100,000 innocent copies
	@tools/crash 2000 10000
	@tools/test -m slow tests/property tests/unit
	@tools/mutate
	@tools/simulate marks validity --cases 10000
