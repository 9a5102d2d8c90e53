# Latchwork. `make` lists what there is; CI runs `make ci`.

GO     ?= go
TESTFLAGS ?= -race -shuffle=on
# Modules of their own: what they link stays out of go.mod.
LOCKS   = memlock/redislock memlock/gaelock
MODULES = . bench $(LOCKS)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: ci
ci: build check lint test official-short ## Everything CI runs: build, checks, lint, tests. The README's test command.

.PHONY: build
build: ## Compile every package.
	$(GO) build ./...

.PHONY: test
test: ## All tests with the race detector, in random order.
	$(GO) test $(TESTFLAGS) ./...
	@for module in $(LOCKS); do (set -x; cd $$module && $(GO) test $(TESTFLAGS) ./...) || exit 1; done

.PHONY: check
check: ## Formatting, vet, go.mod, and code that a newer Go writes better.
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	@for module in $(MODULES); do (set -x; cd $$module && $(GO) vet ./... && $(GO) mod tidy -diff && $(GO) fix -diff ./...) || exit 1; done

.PHONY: lint
lint: ## golangci-lint, as .golangci.yml sets it up (the first run compiles it).
	@for module in $(MODULES); do (set -x; cd $$module && $(GO) tool -modfile=$(CURDIR)/tools.mod golangci-lint run ./...) || exit 1; done

.PHONY: run
run: ## Start everything on this machine: emulators, worker, example.
	$(GO) run .

.PHONY: demo
demo: ## One message to 1,000 recipients, and the books.
	$(GO) run . demo

.PHONY: bench
bench: ## All benchmarks, side by side with what they are compared to.
	$(GO) test -run '^$$' -bench . -benchmem ./...

SEED ?= 1
COUNT ?= 5000
.PHONY: diff-datastore
diff-datastore: ## COUNT (5000) random operations from SEED (1) sent to our Datastore emulator and to Google's two; answers compared.
	$(GO) run ./emulator/datastore/difftest -seed $(SEED) -count $(COUNT) $(DIFFFLAGS)

.PHONY: diff-memcached
diff-memcached: ## COUNT (5000) random commands from SEED (1) sent to our memcached and to the real one; answers compared.
	$(GO) test -count=1 -timeout 60m -run 'TestDifferential$$' -v ./emulator/memcached -diff-seed $(SEED) -diff-commands $(COUNT)

.PHONY: test-clients
test-clients: ## All of gcloud, and clients in other languages (Node, from npm), against the emulators.
	LATCHWORK_CLIENTS=1 $(GO) test -count=1 -timeout 60m -run 'TestNode|TestGcloud' -v ./emulator/datastore ./emulator/cloudtasks ./deploy

.PHONY: test-official
test-official: ## The integration tests over Google's emulators and the real memcached, and a table of them (15 minutes).
	$(GO) run ./internal/official $(OFFICIALFLAGS)

.PHONY: official-short
official-short: ## A few of these tests over each, as CI runs them (a minute).
	$(GO) run ./internal/official -short -race

KILLS ?= 200
.PHONY: kill-cloudtasks
kill-cloudtasks: ## The Cloud Tasks emulator killed KILLS (200) times under load; the books balance.
	$(GO) test -count=1 -timeout 60m -run TestKillLoop -v ./emulator/cloudtasks -kills $(KILLS)

ROUNDS ?= 20
.PHONY: rolling-restart
rolling-restart: ## Two workers behind one address replaced ROUNDS (20) times by another version under load; the books balance.
	$(GO) test -count=1 -timeout 60m -run TestRollingRestart -v . -rounds $(ROUNDS)

.PHONY: test-locks
test-locks: ## The lock store over Google's two Datastore emulators (4 minutes).
	LATCHWORK_OFFICIAL=1 $(GO) test -count=1 -timeout 20m -run TestConformsOnGooglesEmulators -v ./memlock/datastorelock

.PHONY: bench-locks
bench-locks: ## A lock taken and released in each store, one after the other.
	@for dir in ./memlock ./memlock/datastorelock $(LOCKS); do (cd $$dir && $(GO) test -run '^$$' -bench BenchmarkStore -benchtime 2s .) || exit 1; done

.PHONY: bench-datastore
bench-datastore: ## The Datastore emulator beside Google's two, in one run (20 minutes; BENCHFLAGS=-million adds a million entities).
	cd bench && $(GO) run ./datastore $(BENCHFLAGS)

.PHONY: bench-cloudtasks
bench-cloudtasks: ## The Cloud Tasks emulator beside servers that do nothing (BENCHFLAGS=-million adds a million tasks).
	cd bench && $(GO) run ./cloudtasks $(BENCHFLAGS)

FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## Each fuzz target in turn, FUZZTIME (30s) long.
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

.PHONY: deploy-app-engine
deploy-app-engine: ## To App Engine: prints every command, asks (YES=1 doesn't, DRY_RUN=1 only prints), does it. docs/deploy-app-engine.md
	@$(GO) run ./deploy app-engine

.PHONY: deploy-cloud-run
deploy-cloud-run: ## To Cloud Run, likewise. docs/deploy-cloud-run.md
	@$(GO) run ./deploy cloud-run

.PHONY: deploy-function
deploy-function: ## To Cloud Functions, likewise. docs/deploy-function.md
	@$(GO) run ./deploy function

DIR ?= build/function
.PHONY: stage-function
stage-function: ## The tree that Cloud Functions builds, in DIR (build/function).
	@$(GO) run ./deploy stage function $(DIR)

.PHONY: clean
clean: ## Remove what `make run` stored (queues, entities, keys), and staged trees.
	rm -rf .latchwork build
