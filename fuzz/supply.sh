#!/usr/bin/env bash
# What Keyfold is built of, as a row of the matrix: every module is what go.sum says, go vet
# and staticcheck find nothing, and no known vulnerability is in code that is called. Where
# the database of vulnerabilities cannot be reached, VULNDB names a copy of it, such as
# file:///tmp/vulndb/data/osv of a checkout of github.com/golang/vulndb.
set -uo pipefail
cd "$(dirname "$0")/.."
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
began=$SECONDS checks=0 bad=0 skipped=

# check WHAT...: a check that must hold.
check() {
  checks=$((checks + 1))
  "$@" >"$out" 2>&1 && return
  bad=$((bad + 1))
  printf '%s, in %s:\n' "$*" "$PWD"
  tail -40 "$out"
}

# without WHAT: it cannot be done here; the last lines say why.
without() {
  tail -2 "$out"
  skipped="${skipped:+$skipped; }$1"
}

while IFS= read -r -d '' module; do
  pushd "$(dirname "$module")" >/dev/null || exit 1
  check go mod verify
  check go vet ./...
  popd >/dev/null || exit 1
done < <(find . -name go.mod -not -path './.git/*' -print0)

if go run "$staticcheck" -version >"$out" 2>&1; then
  check go run "$staticcheck" ./...
else
  without 'staticcheck cannot be fetched'
fi

database=${VULNDB:-https://vuln.go.dev}
if go run "$govulncheck" -db "$database" -version >"$out" 2>&1 && grep -q 'DB updated' "$out"; then
  check go run "$govulncheck" -db "$database" ./...
  check go run -C contrib/prometheus "$govulncheck" -db "$database" ./...
else
  without 'govulncheck: it or its database cannot be reached'
fi

echo "supply: $checks checks, $bad failed${skipped:+; skipped: $skipped}"
if [ -n "${KEYFOLD_MATRIX:-}" ]; then
  row='{"row":"S2","name":"go mod verify and vet of every module, staticcheck, govulncheck","goal":"every module is what go.sum says, nothing found, no vulnerability in what is called"'
  printf '%s,"cycles":%d,"violations":%d,"seconds":%d}\n' "$row" "$checks" "$bad" "$((SECONDS - began))" >>"$KEYFOLD_MATRIX"
  [ -z "$skipped" ] || printf '%s,"cycles":0,"violations":0,"seconds":0,"skipped":"%s"}\n' "$row" "$skipped" >>"$KEYFOLD_MATRIX"
fi
[ "$bad" = 0 ]
