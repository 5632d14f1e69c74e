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

# What BENCHMARKS.md shows, measured anew, in about ten minutes; after an interruption it
# goes on. FLIGHTS names the file of three million flights; testdata/SOURCE says how to
# get it.
FLIGHTS ?= testdata/flights-2k.ndjson

.PHONY: results page pgo
results:
	bench/measure.sh $(FLIGHTS)

# The page alone, from what is stored.
page:
	go run ./cmd/loadgen report bench/results/*.json --out BENCHMARKS.md --svg bench/results

# Whether a profile at build time pays: with and without, in alternation.
pgo:
	bench/pgo.sh
