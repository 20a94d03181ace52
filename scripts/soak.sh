#!/usr/bin/env bash
# soak.sh runs the long tests for SOAKTIME (10m when unset): the whole program under load and faults (TestSoak… of
# handler/e2e), then many more seeds of the simulated fleet (handler/state).
# SPILLWAY_SOAK tells a test that it is one of these runs, and how long it may take; elsewhere such tests are short or skipped.
source "$(dirname "$0")/lib.sh"

"$GO" test -list '^TestSoak' ./handler/e2e | grep -q '^TestSoak' || fail "handler/e2e has no TestSoak…"
export SPILLWAY_SOAK=${SOAKTIME:-10m}
"$GO" test -count=1 -timeout 0 -v -run '^TestSoak' ./handler/e2e
"$GO" test -count=1 -timeout 0 -v -run '^TestSimulated' ./handler/state
