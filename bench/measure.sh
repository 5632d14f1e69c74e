#!/usr/bin/env bash
# Measures what BENCHMARKS.md shows, and writes it. Each result is stored when it is
# there, and not measured again: after an interruption, run it again on the same commit.
#
#   bench/measure.sh [FLIGHTS]
#
# FLIGHTS is the file of three million flights; testdata/SOURCE says how to get it. A
# machine that has nothing else to do needs about a quarter of an hour.
set -euo pipefail

cd "$(dirname "$0")/.."
flights=${1:-testdata/flights-2k.ndjson}
stage=$PWD/results/$(git rev-parse --short=12 HEAD)
stores=$PWD/results/stores
loadgen=$stage/loadgen

mkdir -p "$stage"
rm -rf "$stores" && mkdir -p "$stores"
# The revision is in every row: -buildvcs=true fails where it cannot be found out.
go build -buildvcs=true -o "$loadgen" ./cmd/loadgen

# one NAME COMMAND ...: stores the result of a command of loadgen.
one() {
  local file=$stage/$1.json
  shift
  if [ -s "$file" ]; then return; fi
  printf '\n== %s (%d s so far): loadgen %s\n' "$(basename "$file" .json)" "$SECONDS" "$*"
  "$loadgen" "$@" --json "$file" 2>"$stage/log" || { cat "$stage/log"; return 1; }
}

# knows COMMAND WORD: whether the help of a command has a word.
knows() { grep -qw -- "$2" <<<"$("$loadgen" "$1" --help 2>/dev/null)"; } # no pipe: grep ends it early

run() {
  local name=$1
  shift
  one "$name" run --quiet "$@"
}

run 01-flights --in "$flights" --key .origin,.destination --value .delay --verify

# Beside the limit rows, in turn: paired ratios.
n=10
for door in producer source; do
  for keys in 100k 1M 10M; do
    for dist in zipf:0.99 uniform; do
      n=$((n + 1))
      if [ "$keys $dist" = '100k uniform' ] || ! knows limit "$door"; then continue; fi
      durable=()
      if [ $keys = 1M ]; then durable=(--durable); fi
      one $n-limit limit --door $door --keys $keys --dist $dist --events 4M "${durable[@]}"
    done
  done
done

run 31-stream --keys 1M --dist zipf:0.99 --warmup 1M --duration 4s --profile "$stage/profile-31" --verify
run 32-stream --keys 1M --dist zipf:0.99 --warmup 1M --duration 4s --sync 10ms --producers 2 --verify
run 33-stream --keys 10M --dist zipf:0.99 --warmup 10M --duration 4s --verify
run 34-stream --keys 10M --dist uniform --warmup 20M --duration 4s --sync 10ms --verify
run 35-stream --keys 1M --dist zipf:0.99 --warmup 1M --duration 4s --device library --verify

n=40
for callers in 1 64 1024; do
  n=$((n + 1))
  run $n-calls --door do --producers $callers --keys 1M --warmup 10k --duration 4s --profile "$stage/profile-$n" --verify
done
run 44-calls --door do --producers 1 --ack applied --keys 1M --warmup 10k --duration 4s --verify
run 45-calls --door do --producers 1024 --device library --keys 1M --warmup 10k --duration 4s --verify

run 51-rate --rate 10k --keys 1M --dist zipf:0.99 --warmup 1M --duration 8s --verify
run 52-rate --rate 200k --keys 1M --dist zipf:0.99 --warmup 1M --duration 8s --verify

# A recovery needs the store of the run before it, so the two are one.
recovery() {
  local run=$1 recover=$2 name=$3
  shift 3
  if [ -s "$stage/$recover.json" ]; then return; fi
  rm -rf "${stores:?}/$name" "$stage/$run.json"
  run "$run" --dist uniform --dir "$stores/$name" "$@"
  one "$recover" recover "$stores/$name"
  rm -rf "${stores:?}/$name"
}
recovery 61-closed 62-recover closed --keys 1M --events 5M
recovery 63-killed 64-recover killed --keys 1M --events 5M --abandon --snapshot-bytes 1GiB
recovery 65-killed 66-recover large --keys 10M --events 20M --abandon

if knows restart cold; then
  one 67-restart restart --cold --seed 1
fi

sweep() {
  local name=$1
  shift
  one "$name" sweep --rounds 3 --events 2M "$@"
}
if knows sweep vary; then
  sweep 71-keys --limit-row --vary keys=100k,1M,10M
  sweep 72-bytes --vary event-bytes=32,256,4KiB
  sweep 73-producers --door producer --vary producers=1,2,4,8
  sweep 74-shards --vary shards=1,2,4,8
  sweep 75-partitions --vary partitions=1,64,4096
fi
if knows find-max precision; then
  one 76-knee find-max --keys 1M --dist zipf:0.99 --limit 'p99<20ms'
fi

one 77-guest guest --rounds 15

if knows snapshot every; then
  one 80-snapshot snapshot
fi

if knows skew shifts; then
  one 78-skew skew
  one 79-skew skew --in "$flights" --key .origin
fi

if knows prices only; then
  one 70-prices prices
fi

# The rivals are a module of their own, which may not be there, nor its dependencies.
peers() {
  local file=$stage/$1.json
  shift
  if [ -s "$file" ]; then return; fi
  printf '\n== peers (%d s so far): loadgen peers %s\n' "$SECONDS" "$*"
  GOFLAGS=-buildvcs=true "$loadgen" peers "$@" --json "$file" ||
    { echo 'skipped: the rivals; what is stored of them stays'; rm -f "$file"; }
}
ours=keyfold,keyfold-wide,keyfold-source,keyfold-batch
best=limit,$ours,handa,handb,handc,pebble,redis-hincrby
peers 81-peers --peers $best --rounds 3 --duration 500ms --ack none --kills 1
peers 82-peers --peers null,$best --rounds 2 --duration 500ms --ack always --in-flight 64,1024 --kills 0
# Ten million keys are slow to fill: those that goals name, once, and a kill of the fast.
many=(--keys 10M --dist uniform --ack none --patience 90s)
peers 83-peers "${many[@]}" --peers limit,keyfold,keyfold-wide,keyfold-source,handb,pebble,redis-hincrby --rounds 1 --kills 0
peers 84-peers "${many[@]}" --peers keyfold,keyfold-wide,handb --rounds 0 --kills 1

if compgen -G "$stage/*-peers.json" >/dev/null; then rm -f bench/results/*-peers.json; fi
find bench/results \( -name '*.json' ! -name '*-peers.json' -o -name '*.svg' \) -delete
cp "$stage"/*.json bench/results/
"$loadgen" report bench/results/*.json --out BENCHMARKS.md --svg bench/results --html results/report.html
rm -rf "$stage" "$stores"
printf '\nBENCHMARKS.md is written; %d s\n' "$SECONDS"
