#!/usr/bin/env bash
# The part of the matrix of faults that needs no root and no real disk: ROUNDS times the
# usual amount of it. Simulated lives and histories of calls are quick, so that there are
# more of them.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:?how many rounds}

go test ./shard -count 1 -timeout 24h -run '^TestEveryOrderOfSteps' -shard.seeds $((rounds * 250))
(cd fuzz/linear && go test ./... -count 1 -timeout 24h -linear.histories $((rounds * 100)))
go test ./fuzz -count 1 -timeout 24h -fuzz.rounds "$rounds"
