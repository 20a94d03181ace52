#!/usr/bin/env bash
# start.sh stages the app and runs it under the real Functions host (Azure Functions Core Tools).
# usage: scripts/start.sh [ARGUMENTS OF func start]
source "$(dirname "$0")/lib.sh"

least=4.3
get="Azure Functions Core Tools $least or newer: npm install --global azure-functions-core-tools@4 (or see README.md). \`make run\` needs none of it"
have func || fail "func is not installed. Install $get"
version=$(func --version)
if [[ $(printf '%s\n%s\n' "$least" "$version" | sort -V | head -n 1) != "$least" ]]; then
  fail "func $version cannot stream answers of a custom handler (customHandler.enableProxyingHttpRequest). Install $get"
fi
if [[ ! -f local.settings.json ]]; then
  cp local.settings.sample.json local.settings.json
  say "local.settings.json made from the sample: it points at the simulated service, start that with \`build/app/spillway simulate\`"
fi
scripts/stage.sh
exec func start --script-root build/app "$@"
