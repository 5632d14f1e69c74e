#!/usr/bin/env bash
# How much of wal, snapshot and shard the tests reach, their own and those of fuzz: a
# figure for each package, and what nothing reaches. wal, snapshot and what recovers a shard
# are held to 95 %, what runs and moves it to 90; what only looks at a store, salvages it or
# lifts what is older has its tests in engine.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT

KEYFOLD_MATRIX= go test ./wal ./snapshot ./shard ./fuzz -count 1 -coverpkg ./wal,./snapshot,./shard -coverprofile "$profile" >/dev/null

# A block of statements is in the profile once for each of the four test programs.
looks='^(between|examine|follower|logview|replay|salvage|schema|stats|trail)[.]go$'
recovers='^(acks|create|current|errors|journal|keep|record|recover|removal|resolve|rotate|stamp|starts|worker)[.]go$'
awk -v looks="$looks" -v recovers="$recovers" -v matrix="${KEYFOLD_MATRIX:-}" '
  NR > 1 { split($1, at, ":"); n = split(at[1], path, "/"); package = path[n-1]
    if (package == "shard") package = path[n] ~ looks ? "shard, what looks, salvages and lifts" : path[n] ~ recovers ? "shard, what recovers" : "shard, what runs and moves"
    if (!($1 in statements)) { statements[$1] = $2; all[package] += $2 }
    if ($3 > 0 && !($1 in hit)) { hit[$1] = 1; reached[package] += $2 } }
  END {
    for (block in statements) if (!(block in hit)) print "not reached: " block | "sort -V"
    close("sort -V")
    for (package in all) {
      printf "%s: %.1f%% of %d statements\n", package, 100 * reached[package] / all[package], all[package]
      held = package ~ /looks/ ? 0 : package ~ /runs/ ? 90 : 95
      missed = 100 * reached[package] < held * all[package]
      bad += missed
      if (matrix != "") printf "{\"row\":\"R22\",\"name\":\"statements of %s that its tests and those of fuzz reach: %.1f %% of %d\",\"goal\":\"%s\",\"cycles\":%d,\"violations\":%d,\"seconds\":0}\n",
        package, 100 * reached[package] / all[package], all[package], held ? held " % at least" : "told, not held: its tests are in engine", reached[package], missed >> matrix
    }
    exit bad > 0
  }' "$profile"
