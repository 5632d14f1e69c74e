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

# The matrix of faults. mutants switches bugs on, one after the other, and wants a test
# to fail of each. torture-ci is for every merge, some 20 minutes on two quiet cores, torture
# for a night, or LENGTH of one: both make the table of RELIABILITY.md. Tests append what they
# have tried to MATRIX, a line of JSON a row; it begins empty.
MATRIX ?= matrix.json
LENGTH ?= 1
export KEYFOLD_MATRIX = $(abspath $(MATRIX))

.PHONY: mutants fuzz coverage supply torture-ci torture
mutants:
	go run -tags mutant ./fuzz/mutants

# Every native fuzz target, SECONDS of each.
SECONDS ?= 20
fuzz:
	fuzz/each.sh $(SECONDS)

# What no test of wal, snapshot, shard and fuzz reaches in what keeps the bytes.
coverage:
	fuzz/coverage.sh

# Modules, vet, staticcheck and known vulnerabilities; VULNDB names a copy of the database.
supply:
	fuzz/supply.sh

torture-ci: empty-matrix
	fuzz/all.sh 4 3 -torture.length 1

# Rounds, and seconds of each fuzz target, as many as LENGTH takes of 100 and 600.
torture: empty-matrix
	fuzz/all.sh $$(awk 'BEGIN { n = int(100 * $(LENGTH)); print n < 1 ? 1 : n }') \
		$$(awk 'BEGIN { n = int(600 * $(LENGTH)); print n < 3 ? 3 : n }') -torture.long -torture.length $(LENGTH)

.PHONY: empty-matrix
empty-matrix:
	rm -f "$$KEYFOLD_MATRIX"
