# Short names for the commands in CONTRIBUTING.md; go alone does as well.
.PHONY: test race bench check

test:
	go test ./...

race:
	go test -race ./...

bench:
	go test -run '^$$' -bench . -benchmem ./...

check:
	.ci/run

# Results are short runs, one JSON file each, and the page that is written from them.
# FLIGHTS names the file of three million flights; testdata/SOURCE says how to get it.
FLIGHTS ?= testdata/flights-2k.ndjson
RESULTS ?= bench/results
LOADGEN := results/loadgen
STORES  := results/stores

.PHONY: results loadgen-for-results
results: loadgen-for-results
	rm -rf $(STORES) && mkdir -p $(STORES)
	$(LOADGEN) run --in $(FLIGHTS) --key .origin,.destination --value .delay --verify --quiet --json $(RESULTS)/01-flights.json
	n=10; for keys in 1M 10M; do for dist in zipf:0.99 uniform; do for sync in commit 10ms; do for producers in 1 2; do \
	n=$$((n+1)); $(LOADGEN) run --keys $$keys --dist $$dist --sync $$sync --producers $$producers --warmup $$keys --duration 4s \
	--verify --quiet --json $(RESULTS)/$$n-keys.json || exit; done; done; done; done
	n=40; for callers in 1 64 1024; do \
	n=$$((n+1)); $(LOADGEN) run --door do --producers $$callers --keys 1M --dist uniform --warmup 10k --duration 4s \
	--verify --quiet --json $(RESULTS)/$$n-calls.json || exit; done
	n=50; for rate in 10k 200k; do \
	n=$$((n+1)); $(LOADGEN) run --rate $$rate --keys 1M --dist zipf:0.99 --warmup 1M --duration 8s \
	--verify --quiet --json $(RESULTS)/$$n-rate.json || exit; done
	$(LOADGEN) run --keys 1M --dist zipf:0.99 --events 5M --quiet --dir $(STORES)/closed --json $(RESULTS)/61-closed.json
	$(LOADGEN) recover $(STORES)/closed --json $(RESULTS)/62-recover.json
	$(LOADGEN) run --keys 1M --dist zipf:0.99 --events 5M --quiet --abandon --snapshot-bytes 1GiB --dir $(STORES)/killed --json $(RESULTS)/63-abandoned.json
	$(LOADGEN) recover $(STORES)/killed --json $(RESULTS)/64-recover.json
	$(LOADGEN) report $(RESULTS)/*.json --out BENCHMARKS.md
	rm -rf $(STORES) $(LOADGEN)

# The revision is in every row: -buildvcs=true fails where it cannot be found out.
loadgen-for-results:
	mkdir -p $(RESULTS) results
	go build -buildvcs=true -o $(LOADGEN) ./cmd/loadgen
