#!/usr/bin/env bash
# Every native fuzz target of the module, one after the other: SECONDS of each. What one
# finds is in testdata/fuzz of its package, to be committed. Each is a row of the matrix.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?how many seconds of each}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0 built=

while IFS=: read -r file target; do
  dir=$(dirname "$file") began=$SECONDS broken=0
  [ "$built" = "$dir" ] || go test -c -fuzz . -o "$scratch/test" "./$dir"
  built=$dir
  (cd "$dir" && "$scratch/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "${seconds}s" -test.fuzzminimizetime 10x \
    -test.fuzzcachedir "$(go env GOCACHE)/fuzz/$dir") >"$scratch/out" 2>&1 || { broken=1 failed=1; tail -40 "$scratch/out"; }
  execs=$(sed -nE 's/^fuzz: .*execs: ([0-9]+).*/\1/p' "$scratch/out" | tail -1)
  echo "$target: ${execs:-0} executions"
  if [ -n "${KEYFOLD_MATRIX:-}" ]; then
    printf '{"row":"R17","name":"%s","goal":"%s","cycles":%d,"violations":%d,"seconds":%d}\n' \
      'native fuzzing of all decoders' '0 panics, memory bounded by the input, nothing accepted that no writer writes' \
      "${execs:-0}" "$broken" "$((SECONDS - began))" >>"$KEYFOLD_MATRIX"
  fi
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z]+' . | grep -v -e '/torture/' -e '/linear/' -e internal/tidy -e '/peers/' | sed 's|^\./||; s/func //' | sort)
exit $failed
