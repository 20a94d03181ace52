# shellcheck shell=bash
# lib.sh is what the scripts share: where the project is, how they talk, what version is being built.
# Sourced, never run. It leaves the caller in the project's top folder.
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

GO=${GO:-go}

# say prints one line of progress, on stderr so that a script's output stays its own.
say() { printf '%s\n' "$*" >&2; }

# fail ends the script with a sentence that names the fix.
fail() {
  say "error: $*"
  exit 1
}

# have tells whether a command can be run.
have() { command -v "$1" >/dev/null 2>&1; }

# version_of_tree is what `spillway version` will print: VERSION when set, else the tag or commit.
version_of_tree() {
  printf '%s\n' "${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}"
}

# demo builds the program as build/spillway and lays out the pool of the demonstrations for the simulator's port.
demo() {
  say "building"
  "$GO" build -o build/spillway -ldflags "-X spillway/handler/internal/cli.version=$(version_of_tree)" ./handler
  mkdir -p build/run
  sed "s/:9100/:$1/" scripts/demo/pool.json >build/run/pool.json
}

# wait_for asks an address until it answers with success; else it ends the script with the message.
wait_for() {
  local _
  for _ in {1..200}; do
    curl -fs -o /dev/null "$1" && return
    sleep 0.05
  done
  fail "$2"
}
