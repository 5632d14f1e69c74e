#!/usr/bin/env bash
# How much of wal, snapshot and shard the tests reach, their own and those of fuzz: a
# figure for each package, and what nothing reaches. Of shard what writes, recovers and moves
# is apart from what only looks at a store, salvages it or lifts what is older: that has its
# tests in engine.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT

KEYFOLD_MATRIX= go test ./wal ./snapshot ./shard ./fuzz -count 1 -coverpkg ./wal,./snapshot,./shard -coverprofile "$profile" >/dev/null

# A block of statements is in the profile once for each of the four test programs.
looks='^(between|examine|follower|logview|replay|salvage|schema|stats|trail)[.]go$'
awk -v looks="$looks" -v matrix="${KEYFOLD_MATRIX:-}" '
  NR > 1 { split($1, at, ":"); n = split(at[1], path, "/"); package = path[n-1]
    if (package == "shard") package = path[n] ~ looks ? "shard, what looks, salvages and lifts" : "shard, what writes, recovers and moves"
    if (!($1 in statements)) { statements[$1] = $2; all[package] += $2 }
    if ($3 > 0 && !($1 in hit)) { hit[$1] = 1; reached[package] += $2 } }
  END {
    for (block in statements) if (!(block in hit)) print "not reached: " block | "sort -V"
    close("sort -V")
    for (package in all) {
      printf "%s: %.1f%% of %d statements\n", package, 100 * reached[package] / all[package], all[package]
      held = package !~ /looks/
      missed = held && reached[package] < 0.95 * all[package]
      bad += missed
      if (matrix != "") printf "{\"row\":\"R22\",\"name\":\"statements of %s that its tests and those of fuzz reach: %.1f %% of %d\",\"goal\":\"%s\",\"cycles\":%d,\"violations\":%d,\"seconds\":0}\n",
        package, 100 * reached[package] / all[package], all[package], held ? "95 % at least" : "told, not held: its tests are in engine", reached[package], missed >> matrix
    }
    exit bad > 0
  }' "$profile"
