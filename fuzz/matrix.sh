#!/usr/bin/env bash
# The part of the matrix of faults that needs no root and no real disk, N times the
# usual amount of it.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:?how many rounds}

go test ./fuzz -count 1 -timeout 24h -fuzz.rounds "$rounds"
