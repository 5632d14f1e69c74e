#!/usr/bin/env bash
# The long matrix of faults, both halves, or a part of it, and its table in RELIABILITY.md.
# The table is written even if a goal was missed.
set -uo pipefail
cd "$(dirname "$0")/../.."
length=${1:?which part of the long run, such as 0.1}
: "${KEYFOLD_MATRIX:?where the tests append what they have tried}"
failed=0

go run -tags mutant ./fuzz/mutants || failed=1
fuzz/matrix.sh "$(awk "BEGIN { n = int(100 * $length); print n < 1 ? 1 : n }")" || failed=1
cd fuzz/torture
go test . -count 1 -timeout 0 -torture.long -torture.length "$length" || failed=1
go run ./publish "$KEYFOLD_MATRIX" ../../RELIABILITY.md || failed=1
exit $failed
