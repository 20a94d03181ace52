#!/usr/bin/env bash
# install.sh brings the tools it is asked for, at pinned versions, and is done at once when they are there.
# usage: scripts/tools/install.sh TOOL...
# TOOL: npm (package.json in this folder) · chromium · shellcheck (Debian) · any tool of go-tools.txt (Go module proxy).
# Go tools land in build/tools/bin, npm's in scripts/tools/node_modules, Debian's in the system. SPILLWAY_TOOLS names a
# folder that has the npm packages already: then none are installed.
source "$(dirname "$0")/../lib.sh"

here=scripts/tools
bin=$PWD/build/tools/bin

# install_npm lays node_modules out as package-lock.json says; the stamp is the lock file's own text.
install_npm() {
  local stamp=$here/node_modules/.spillway-stamp
  if [[ -n ${SPILLWAY_TOOLS:-} ]]; then
    [[ -d $SPILLWAY_TOOLS/azurite ]] || fail "SPILLWAY_TOOLS is $SPILLWAY_TOOLS, which has no azurite: name the node_modules of $here/package.json, or unset it"
    return
  fi
  cmp -s $here/package-lock.json "$stamp" && return
  have npm || fail "npm is not installed. Install Node.js 20 or newer: it brings npm"
  say "installing npm packages of $here/package-lock.json"
  (cd $here && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  cp $here/package-lock.json "$stamp"
}

# install_go builds one line of go-tools.txt. The stamp names the toolchain too: a linter built by an older Go
# refuses the sources of a newer one.
install_go() {
  local name=$1 package stamp
  package=$(awk -v name="$name" '$1 == name { print $2 }' $here/go-tools.txt)
  [[ -n $package ]] || fail "unknown tool $name: give npm, chromium, shellcheck or one of $here/go-tools.txt"
  stamp=build/tools/$name.stamp
  [[ -x $bin/$name && $(cat "$stamp" 2>/dev/null) == "$package $("$GO" env GOVERSION)" ]] && return
  say "building $package"
  mkdir -p "$bin"
  # Whatever the caller cross-compiles for, the tool runs here.
  env -u GOOS -u GOARCH -u GOFLAGS GOBIN="$bin" "$GO" install -trimpath "$package"
  echo "$package $("$GO" env GOVERSION)" >"$stamp"
}

# install_debian brings one of Debian's packages unless one of the commands is there already.
install_debian() {
  local package=$1 command
  shift
  for command in "$@"; do
    have "$command" && return
  done
  have apt-get || fail "$1 is not installed, and there is no apt-get: install $package by your system's package manager"
  [[ $(id -u) == 0 ]] || fail "$1 is not installed: sudo apt-get update && sudo apt-get install -y $package"
  say "installing $package"
  if [[ -z ${apt_updated:-} ]]; then
    apt-get -qq update >&2
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$package" >&2
}

(($#)) || fail "name the tools: npm, chromium, shellcheck, $(awk '!/^#/ { printf "%s ", $1 }' $here/go-tools.txt)"
for tool in "$@"; do
  case $tool in
  npm) install_npm ;;
  chromium) install_debian chromium chromium chromium-browser google-chrome google-chrome-stable ;;
  shellcheck) install_debian shellcheck shellcheck ;;
  *) install_go "$tool" ;;
  esac
done
