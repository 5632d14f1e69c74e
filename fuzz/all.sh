#!/usr/bin/env bash
# The matrix of faults, both halves: ROUNDS of what needs no root and no real disk, SECONDS of
# each native fuzz target, and the module fuzz/torture with the flags that follow. The table
# goes into RELIABILITY.md, even if a goal was missed.
#
#	fuzz/all.sh 4 3 -torture.length 1
set -uo pipefail
cd "$(dirname "$0")/.."
rounds=${1:?how many rounds} seconds=${2:?how many seconds of each fuzz target}
shift 2
: "${KEYFOLD_MATRIX:?where the tests append what they have tried}"
failed=0

# step WHAT...: a step, and how long it took.
step() {
  local began=$SECONDS
  "$@" || { failed=1; echo "failed: $*"; }
  echo "== $*: $((SECONDS - began)) s"
}

step fuzz/supply.sh
step go run -tags mutant ./fuzz/mutants
step fuzz/matrix.sh "$rounds"
step fuzz/coverage.sh
step fuzz/each.sh "$seconds"
cd fuzz/torture
step go test . -count 1 -timeout 0 "$@"
step go run ./publish "$KEYFOLD_MATRIX" ../../RELIABILITY.md
echo "== all of it: $SECONDS s"
exit $failed
