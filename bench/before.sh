#!/usr/bin/env bash
# Compares what a table without layers does now with what it did at an older commit, the two
# commits in turn: streams by the ratio to the limit rows of their own run, single calls by
# their rate.
#
#   bench/before.sh [COMMIT [ROUNDS]]
#
# COMMIT is 31464ce by default, the last one without layers, and ROUNDS is 4. DOORS are those
# that are compared: source, producer and call; there were no batches then. On a machine that has
# nothing else to do a round takes about 30 seconds.
set -euo pipefail

cd "$(dirname "$0")/.."
commit=${1:-31464ce}
rounds=${2:-4}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT

git worktree add --quiet --detach "$work/tree" "$commit"
(cd "$work/tree" && go build -buildvcs=true -o "$work/old" ./cmd/loadgen)
go build -buildvcs=true -o "$work/new" ./cmd/loadgen

events=${EVENTS:-2M}
measure() { # SIDE DOOR JSON
  case $2 in
  call) "$work/$1" run --quiet --door do --ack applied --keys 1M --dist zipf:0.99 --warmup 500k --events 500k --dir "$work/store" --json "$3" ;;
  *) "$work/$1" limit --door "$2" --events "$events" --rounds 3 --dir "$work" --json "$3" ;;
  esac
  rm -rf "$work/store"
}
for door in ${DOORS:-source producer call}; do
  for round in $(seq "$rounds"); do
    # Each round begins with the other one.
    sides=(old new)
    if ((round % 2 == 0)); then sides=(new old); fi
    for side in "${sides[@]}"; do
      measure $side "$door" "$work/$side-$door-$round.json" >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
    done
  done
  list() { local files=("$work/$1-$door"-*.json); local IFS=,; echo "${files[*]}"; }
  printf '\n%s, %s beside now, %d rounds in turn\n' "$door" "$commit" "$rounds"
  "$work/new" compare "$(list old)" "$(list new)"
done
