#!/usr/bin/env bash
# run.sh shows the main job at work: the simulated service (a small PTU, two pay-as-you-go), one handler with its state
# in memory, a curl line to paste. Nothing from Azure is needed. Ctrl-C stops both.
# usage: scripts/run.sh          PORT (8080) and SIMULATOR_PORT (9100) choose other ports
source "$(dirname "$0")/lib.sh"

port=${PORT:-8080}
simulator=${SIMULATOR_PORT:-9100}
bin=build/spillway

demo "$simulator"

trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
"$bin" simulate --listen "127.0.0.1:$simulator" >build/run/simulator.log 2>&1 &
wait_for "http://127.0.0.1:$simulator/_control/" "the simulated service did not start: see build/run/simulator.log"
export KEY_UKSOUTH=key-ptu-uksouth KEY_SWEDEN=key-payg-sweden KEY_FRANCE=key-payg-france
SPILLWAY_CONFIG=@build/run/pool.json SPILLWAY_AUTH=none SPILLWAY_EXPOSE=true SPILLWAY_LISTEN="127.0.0.1:$port" \
  "$bin" >build/run/handler.log &
wait_for "http://127.0.0.1:$port/health/ready" "the handler did not start: see build/run/handler.log"

cat <<TEXT

Spillway listens on http://127.0.0.1:$port, in front of a simulated PTU (priority 1) and two pay-as-you-go backends (2).

Ask for a completion; x-spillway-backend tells who served:

  curl -si http://127.0.0.1:$port/openai/v1/chat/completions -H 'content-type: application/json' -d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}'

The same as a stream: add ,"stream":true to the body, and -N to curl.
Throttle the PTU for 20 seconds and ask again; the next backends answer, and after that the PTU does again:

  curl -sX POST 'http://127.0.0.1:$simulator/_control/resources/ptu-uksouth/throttle?for=20s'

Status page: http://127.0.0.1:$port/ops/     Log: build/run/handler.log     Simulated service: http://127.0.0.1:$simulator/_control/
Ctrl-C stops all.
TEXT
wait
