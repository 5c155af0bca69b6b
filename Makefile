# One verb a file in tools/; this only gives them their usual names. ARGS='…' passes arguments on.
.PHONY: help setup check test demo bench crash soak

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

bench: ## compare with nginx, rclone and the bare store, in one run
	@tools/bench $(ARGS)

crash: ## kill the server 500 times under load
	@tools/crash

soak: ## kill the server 2,000 times under load
	@tools/crash 2000
