#!/usr/bin/env bash
# fleet.sh shows that all instances agree: N handlers (N=3) on consecutive ports that share one emulated table, in front of
# the simulated service, under a load that drives its PTU into throttling. Ctrl-C stops all.
# usage: N=3 scripts/fleet.sh      PORT (8081) is the first handler's, SIMULATOR_PORT (9100), TABLE_PORT (10002), RATE (30/s)
source "$(dirname "$0")/lib.sh"

count=${N:-3} first=${PORT:-8081} simulator=${SIMULATOR_PORT:-9100} table=${TABLE_PORT:-10002}
bin=build/spillway
demo "$simulator"

trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
scripts/azurite.sh "$table" >build/run/connection 2>build/run/azurite.log &
"$bin" simulate --listen "127.0.0.1:$simulator" >build/run/simulator.log 2>&1 &
wait_for "http://127.0.0.1:$simulator/_control/" "the simulated service did not start: see build/run/simulator.log"

curl -s -o /dev/null --retry 30 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$table/" ||
  fail "the emulated table did not start: see build/run/azurite.log"

SPILLWAY_STATE=$(head -n 1 build/run/connection)
export SPILLWAY_STATE SPILLWAY_CONFIG=@build/run/pool.json SPILLWAY_AUTH=none SPILLWAY_EXPOSE=true
export KEY_UKSOUTH=key-ptu-uksouth KEY_SWEDEN=key-payg-sweden KEY_FRANCE=key-payg-france
printf "export SPILLWAY_STATE='%s' SPILLWAY_CONFIG=%s\n" "$SPILLWAY_STATE" "$SPILLWAY_CONFIG" >build/run/environment
addresses=()
for ((i = 0; i < count; i++)); do
  address=127.0.0.1:$((first + i))
  WEBSITE_POD_NAME=instance-$((i + 1)) SPILLWAY_LISTEN=$address "$bin" >"build/run/handler-$((i + 1)).log" &
  wait_for "http://$address/health/ready" "handler $((i + 1)) did not start: see build/run/handler-$((i + 1)).log"
  addresses+=("http://$address")
done

cat <<TEXT

$count handlers share one table. Their status pages:
$(printf '  %s/ops/\n' "${addresses[@]}")
The commands, in another terminal here, after they know the table and the pool:

  source build/run/environment
  $bin status
  $bin backends list        # or: watch, drain payg-sweden, restore payg-sweden, reset ptu-uksouth

Take the PTU away from all of them for 20 seconds; more faults: http://127.0.0.1:$simulator/_control/

  curl -sX POST 'http://127.0.0.1:$simulator/_control/resources/ptu-uksouth/throttle?for=20s'

Who served whom, a line a second:

TEXT
node scripts/demo/load.mjs "${RATE:-30}" "${addresses[@]}"
