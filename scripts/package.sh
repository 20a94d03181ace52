#!/usr/bin/env bash
# package.sh makes build/spillway.zip, what is deployed: linux/amd64, static, host.json at the root, `spillway` with mode 0755.
# usage: scripts/package.sh [ZIP]
source "$(dirname "$0")/lib.sh"

zip=${1:-build/spillway.zip}
staged=build/package/app
mkdir -p "$(dirname "$zip")" build/package

# local.settings.json holds keys: it never travels.
GOOS=linux GOARCH=amd64 LOCAL_SETTINGS=no scripts/stage.sh "$staged"
# The packer runs on this machine, whatever the package is for.
env -u GOOS -u GOARCH "$GO" run ./scripts/tools/zip "$staged" "$zip"
