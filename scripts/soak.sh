#!/usr/bin/env bash
# soak.sh runs the soak tests (TestSoak… of handler/e2e) for SOAKTIME (10m when unset): long load, faults, leaks.
# They are skipped elsewhere: a test asks SPILLWAY_SOAK how long it may run.
source "$(dirname "$0")/lib.sh"

"$GO" test -list '^TestSoak' ./handler/e2e | grep -q '^TestSoak' || fail "handler/e2e has no TestSoak…"
SPILLWAY_SOAK=${SOAKTIME:-10m} "$GO" test -count=1 -timeout 0 -v -run '^TestSoak' ./handler/e2e
