#!/usr/bin/env bash
# fuzz.sh runs every fuzz target for FUZZTIME (20s when unset) each. Findings are kept in testdata/fuzz next to the test.
# usage: scripts/fuzz.sh [PACKAGE...]
source "$(dirname "$0")/lib.sh"

(($#)) || set -- ./...
packages=$("$GO" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$@")
ran=0
for package in $packages; do
  targets=$("$GO" test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
  for target in $targets; do
    say "$package $target"
    "$GO" test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}"
    ran=$((ran + 1))
  done
done
((ran > 0)) || fail "no fuzz target in $*"
say "$ran fuzz targets, no finding"
