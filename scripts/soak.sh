#!/usr/bin/env bash
# soak.sh runs the long tests, each for SOAKTIME (10m when unset) at most: the whole program and fleets of it under load and
# faults (handler/test/e2e), then the fleet's state, simulated and on a live table (handler/internal/fleet), then the quotas
# (handler/internal/quota), the keys' revocation and the time that a comparison of keys takes (handler/internal/auth). On two
# idle cores the simulation makes a million probes in 12 minutes, and stops then.
# SPILLWAY_SOAK names the duration to the tests; without it they are short or skipped.
source "$(dirname "$0")/lib.sh"

# Those that only a soak runs, and those that it runs for longer.
only=$(awk '/^func Test/ { name = $2; sub(/\(.*/, "", name) } /soakOnly\(t\)/ { print name }' handler/test/e2e/*_test.go | paste -sd'|')
whole='^('$only'|Test(Soak|Fleet|Operator|TableTraffic|QuotaTraffic|QuotaHolds|RequestNever|FewRequests|Hedging|Interactive|BatchRequests|LoadSpills|CallerDisconnect|Upgrade|StatusPage|NodeRetries))'
state='^Test(Simulation|LiveTable|SoakLiveTable|ExchangesByFleetSize)'

"$GO" test -list "$whole" ./handler/test/e2e | grep -q '^TestSoak' || fail "handler/test/e2e has no TestSoak…"
"$GO" test -list "$state" ./handler/internal/fleet | grep -q '^TestSimulation' || fail "handler/internal/fleet has no TestSimulation…"
export SPILLWAY_SOAK=${SOAKTIME:-10m}
# One at a time: what they measure is the machine's own business otherwise.
"$GO" test -count=1 -timeout 0 -parallel 1 -v -run "$whole" ./handler/test/e2e
"$GO" test -count=1 -timeout 0 -v -run "$state" ./handler/internal/fleet
"$GO" test -count=1 -timeout 0 ./handler/internal/quota/... ./handler/internal/auth/keys
"$GO" test -count=1 -timeout 0 -run TestKeyComparisonTime ./handler/internal/auth
