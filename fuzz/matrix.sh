#!/usr/bin/env bash
# The part of the matrix of faults that needs no root and no real disk: ROUNDS times the
# usual amount of it. Simulated lives and histories of calls are quick, so that there are
# more of them. Four rounds are what it takes to leave out nothing of what can be counted,
# such as the bits of a log, and send ten million blocks through rings.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:?how many rounds}

go test ./shard -count 1 -timeout 24h -run '^TestEveryOrderOfSteps' -shard.seeds $((rounds * 250)) -shard.crossings $((rounds * 250))
(cd fuzz/linear && go test ./... -count 1 -timeout 24h -linear.histories $((rounds * 100)))
if command -v gcc >/dev/null || command -v clang >/dev/null; then
  CGO_ENABLED=1 go test -race ./internal/ring -count 1 -timeout 24h -run '^TestBlocksOfEach' -ring.items $((rounds * 2500000))
else
  go test ./internal/ring -count 1 -timeout 24h -run '^TestBlocksOfEach' -ring.items $((rounds * 2500000))
fi
go test ./engine -count 1 -run '^TestGoldenStores'
go test ./fuzz -count 1 -timeout 24h -fuzz.rounds "$rounds"
