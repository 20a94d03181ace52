#!/usr/bin/env bash
# release.sh makes build/release/VERSION: a package for each machine, what is in it (CycloneDX), the notes, and checksums of all.
# usage: scripts/release.sh VERSION   (1.2.3, without v)
# Two releases of one commit by one Go version are the same to the byte, wherever they are made: no path, time, name of a machine or tag
# is in them. So they are built from the files of the commit alone, and settings of the environment and of `go env -w` are left out.
source "$(dirname "$0")/lib.sh"

version=${1:-}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "name the version: make release VERSION=1.2.3"
[[ -z $(git status --porcelain) ]] || fail "the tree has changes that are in no commit: commit them, or release from a clone"
commit=$(git rev-parse HEAD)
time=$(TZ=UTC git show -s --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ HEAD)

# part prints what CHANGELOG.md has under the heading.
part() {
  awk -v heading="## $1" '/^## /{ inside = ($0 == heading || index($0, heading " ") == 1); next } inside' CHANGELOG.md
}

# notes prints the part of the changelog about this version, or the part that is not released yet.
notes() {
  local heading=$version
  if [[ -z $(part "$heading") ]]; then
    heading=Unreleased
    say "CHANGELOG.md has no part \"## $version\": its part \"## $heading\" is taken"
  fi
  [[ -n $(part "$heading") ]] || fail "CHANGELOG.md has nothing under \"## $heading\""
  printf '# Spillway %s\n\nCommit %s, built by %s.\n' "$version" "$commit" "$("$GO" env GOVERSION)"
  part "$heading"
}

# list_contents prints the modules of a program as CycloneDX. The tool writes the time of day: the commit's stands there instead.
list_contents() {
  build/tools/bin/cyclonedx-gomod bin -json -std -noserial -output-version 1.5 -version "$version" "$1" |
    sed -E "s/^( *\"timestamp\": )\"[^\"]*\"/\1\"$time\"/"
}

scripts/tools/install.sh cyclonedx-gomod
out=$PWD/build/release/$version source=$PWD/build/package/source
rm -rf "$out" "$source"
mkdir -p "$out" "$source"
trap 'rm -rf "$source"' EXIT
# Files that git ignores would be staged from here.
git -c core.autocrlf=false archive HEAD | tar -x -C "$source"
export GOENV=off
for arch in amd64 arm64; do
  name=$out/spillway-$version-linux-$arch
  staged=$PWD/build/package/$arch
  # -buildvcs would stamp the tag that the commit has by then.
  env -u GOFLAGS -u GOAMD64 -u GOARM64 -u GOEXPERIMENT -u GOFIPS140 GOOS=linux GOARCH=$arch VERSION="$version" BUILDFLAGS=-buildvcs=false LOCAL_SETTINGS=no \
    "$source/scripts/stage.sh" "$staged"
  (cd "$source" && env -u GOOS -u GOARCH -u GOFLAGS "$GO" run ./scripts/tools/zip "$staged" "$name.zip" "$arch")
  list_contents "$staged/spillway" >"$name.cdx.json"
done
notes >"$out/notes.md"
(cd "$out" && sha256sum ./*.zip ./*.cdx.json notes.md | sed 's| \./| |' >SHA256SUMS)
say "released $version of $commit into build/release/$version:"
cat "$out/SHA256SUMS"
