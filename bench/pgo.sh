#!/usr/bin/env bash
# Measures whether building with a profile (go build -pgo) pays: takes a profile of
# streaming and one of calls, merges them, builds with and without, and has the two
# programs take the same loads in alternation.
#
#   bench/pgo.sh [ROUNDS]
#
# It leaves results/pgo/merged.pgo, and says by the statistics of benchstat what it gives.
set -euo pipefail

cd "$(dirname "$0")/.."
rounds=${1:-6}
dir=$PWD/results/pgo
rm -rf "$dir" && mkdir -p "$dir"

go build -pgo=off -o "$dir/without" ./cmd/loadgen

# load NAME PROGRAM FLAGS ...: one run of a load.
load() {
  local name=$1 program=$2
  shift 2
  case $name in
  stream) set -- --keys 1M --dist zipf:0.99 --warmup 2M --duration 4s --sync 10ms --window 262144 "$@" ;;
  calls) set -- --door do --producers 64 --keys 1M --warmup 100k --duration 4s "$@" ;;
  applied) set -- --door do --producers 64 --ack applied --keys 1M --warmup 1M --duration 4s "$@" ;;
  esac
  "$program" run --quiet "$@" >"$dir/log" 2>&1 || { cat "$dir/log"; return 1; }
}

loads=(stream calls applied)
for l in "${loads[@]}"; do load "$l" "$dir/without" --profile "$dir/$l"; done
go tool pprof -proto "$dir"/*/cpu.pb.gz >"$dir/merged.pgo" 2>"$dir/log"
go build -pgo="$dir/merged.pgo" -o "$dir/with" ./cmd/loadgen

for i in $(seq "$rounds"); do
  for l in "${loads[@]}"; do
    for program in without with; do
      load "$l" "$dir/$program" --json "$dir/$l-$program-$i.json"
    done
  done
  printf 'round %d of %d, %d s\n' "$i" "$rounds" "$SECONDS"
done

# list NAME PROGRAM: its results, separated by commas.
list() { printf '%s\n' "$dir/$1-$2"-*.json | paste -sd, -; }

for l in "${loads[@]}"; do
  printf '\n%s: without, with\n' "$l"
  "$dir/without" compare "$(list "$l" without)" "$(list "$l" with)"
done
