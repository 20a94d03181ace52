#!/usr/bin/env bash
# stage.sh lays out the folder that the Functions host runs: host.json, spillway, one folder per function.
# usage: scripts/stage.sh [FOLDER]   (build/app when none is given; it is replaced)
# GOOS and GOARCH choose the machine it is for (this one when unset), VERSION what `spillway version` prints,
# BUILDFLAGS adds flags of go build. LOCAL_SETTINGS=no leaves local.settings.json out.
source "$(dirname "$0")/lib.sh"

out=${1:-build/app}
[[ ! -e $out || -e $out/host.json || -z $(ls -A "$out") ]] || fail "$out holds other things than a staged app: name another folder"
rm -rf "$out"
mkdir -p "$out"

# The host looks for functions in the folders next to host.json, nowhere deeper.
cp host.json "$out/"
cp -R functions/. "$out/"
if [[ -f local.settings.json && ${LOCAL_SETTINGS:-yes} == yes ]]; then
  cp local.settings.json "$out/"
fi

# BUILDFLAGS is a list of words on purpose.
# shellcheck disable=SC2086
CGO_ENABLED=0 "$GO" build -trimpath ${BUILDFLAGS:-} -ldflags "-s -w -X spillway/handler/internal/cli.version=$(version_of_tree)" \
  -o "$out/spillway" ./handler
say "staged $out"
