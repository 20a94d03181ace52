#!/usr/bin/env bash
# azurite.sh starts an emulated table service and prints its connection string, then serves until it is stopped.
# usage: scripts/azurite.sh [PORT]   (10002 when none is given; what it holds is in memory and lost at the end)
# The tests start their own on a free port (handler/internal/tablestore/storetest).
source "$(dirname "$0")/lib.sh"

port=${1:-10002}
[[ $port =~ ^[0-9]+$ ]] || fail "usage: scripts/azurite.sh [PORT]: $port is no port"
have node || fail "node is not installed. Install Node.js 20 or newer"
scripts/tools/install.sh npm

account=devstoreaccount1
key='Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
printf 'DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;TableEndpoint=http://127.0.0.1:%s/%s;\n' "$account" "$key" "$port" "$account"

exec node "${SPILLWAY_TOOLS:-scripts/tools/node_modules}/azurite/dist/src/table/main.js" \
  --inMemoryPersistence --silent --skipApiVersionCheck --disableTelemetry --tableHost 127.0.0.1 --tablePort "$port" >&2
