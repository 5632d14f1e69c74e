#!/usr/bin/env bash
# How much of wal, snapshot and shard the tests reach, their own and those of fuzz: a
# figure for each package, and what nothing reaches.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT
began=$SECONDS

go test ./wal ./snapshot ./shard ./fuzz -count 1 -coverpkg ./wal,./snapshot,./shard -coverprofile "$profile" >/dev/null

# A block of statements is in the profile once for each of the four test programs.
awk -v began="$began" -v matrix="${KEYFOLD_MATRIX:-}" '
  NR > 1 { split($1, at, ":"); n = split(at[1], path, "/"); package = path[n-1]
    if (!($1 in statements)) { statements[$1] = $2; all[package] += $2 }
    if ($3 > 0 && !($1 in hit)) { hit[$1] = 1; reached[package] += $2 } }
  END {
    for (block in statements) if (!(block in hit)) print "not reached: " block | "sort -V"
    close("sort -V")
    for (package in all) {
      printf "%s: %.1f%% of %d statements\n", package, 100 * reached[package] / all[package], all[package]
      if (matrix != "") printf "{\"row\":\"R22\",\"name\":\"statements of %s reached by tests\",\"goal\":\"95%% at least\",\"cycles\":%d,\"checked\":%d,\"violations\":%d,\"seconds\":0}\n",
        package, all[package], reached[package], reached[package] < 0.95 * all[package] >> matrix
    }
  }' "$profile"
