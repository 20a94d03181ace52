#!/usr/bin/env bash
# infra-check.sh checks infra/ and the scripts that use it. Nothing is deployed and nobody is asked: it works offline, once the Go
# modules are there. What a tool is missing for is skipped, with a line that says so.
#
# usage: scripts/infra-check.sh [--fast | --middle | --build-providers | --sources]
#
#   (none)             the fast tier, then the middle tier when terraform and the providers are there
#   --fast             Bicep and Terraform worked out and compared, app settings given to `spillway validate`, faults made on purpose
#                      and caught, scripts against a recorded az, formatting; the Bicep compiler when it is installed
#   --middle           terraform validate and terraform test for every example, with the real providers
#   --build-providers  builds the providers from the Go module proxy into build/tools/terraform: 4 GB of memory, 12 CPU minutes
#   --sources          makes the two snapshots again from their sources (npm, the built providers) and compares them with the committed ones
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

checker=scripts/infra-check
providers=$PWD/build/tools/terraform
azurerm=github.com/hashicorp/terraform-provider-azurerm@v1.44.1-0.20260824201233-fae580791926
azapi=github.com/Azure/terraform-provider-azapi@v1.15.0
types=@azure/mcp-linux-x64@0.5.13
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skipped=()

# step says what comes, and runs it.
step() {
  say "== $1"
  shift
  "$@"
}

skip() { skipped+=("$1"); }

# checker_go runs go in the checker's own module: its dependencies are not the program's.
checker_go() { env -u GOOS -u GOARCH GOGC=400 "$GO" -C "$checker" "$@"; }

fast() {
  step "vet the checker" checker_go vet ./...
  step "look for faults" checker_go run . check "$PWD"
  step "give app settings to spillway validate" accept
  # Go's cache of test results does not see files outside the checker's module, which is where infra and the scripts are.
  export SPILLWAY_BINARY=$work/spillway # built by accept; smoke.sh is tried on it
  step "make faults on purpose, run the scripts" checker_go test -count=1 ./...
  if have terraform; then
    step "terraform fmt" terraform fmt -check -recursive -diff infra/terraform
  else
    skip "terraform fmt, terraform validate, terraform test: install Terraform 1.9 or newer (https://developer.hashicorp.com/terraform/install)"
  fi
  compile_bicep
  lint_scripts
}

accept() {
  env -u GOOS -u GOARCH "$GO" build -o "$work/spillway" ./handler
  checker_go run . accept "$PWD" "$work/spillway"
}

# compile_bicep is the real thing, where there is one. It has not run on the machine these templates were written on.
compile_bicep() {
  local file
  if ! have bicep; then
    skip "the Bicep compiler: az bicep install, then put ~/.azure/bin on the PATH"
    return
  fi
  step "bicep build" bicep build --stdout infra/bicep/main.bicep >/dev/null
  step "bicep lint" bicep lint infra/bicep/main.bicep
  for file in infra/bicep/{examples,tests}/*.bicepparam; do
    # The variables that the examples read; what is in them does not matter.
    TEAM_A_KEY=x SEARCH_KEY=x LAST_RESORT_KEY=x EUROPE_KEY=x SPILLWAY_OPERATOR_KEY=x bicep build-params --stdout "$file" >/dev/null
  done
}

lint_scripts() {
  local -a files=(scripts/{azure,gateway,deploy,smoke,prove,destroy,aoai-status,aoai-purge,infra-check}.sh)
  if have shellcheck; then
    step shellcheck shellcheck -x -P SCRIPTDIR "${files[@]}"
  else
    skip "shellcheck: scripts/tools/install.sh shellcheck"
  fi
  if [[ -x build/tools/bin/shfmt ]]; then
    step shfmt build/tools/bin/shfmt -d -i 2 "${files[@]}"
  else
    skip "shfmt: scripts/tools/install.sh shfmt"
  fi
  # The checker is a module of its own, which a linter started at the top does not enter.
  if [[ -x build/tools/bin/golangci-lint ]]; then
    step "lint the checker" lint_checker
  else
    skip "golangci-lint: scripts/tools/install.sh golangci-lint"
  fi
}

lint_checker() { (cd "$checker" && ../../build/tools/bin/golangci-lint run ./...); }

# overrides makes terraform take the built providers, without an init and without a network.
overrides() {
  have terraform || fail "terraform is not installed: https://developer.hashicorp.com/terraform/install"
  [[ -x $providers/terraform-provider-azurerm ]] || fail "the providers are not there: scripts/infra-check.sh --build-providers"
  cat >"$work/terraform.rc" <<-END
	disable_checkpoint = true
	provider_installation {
	  dev_overrides {
	    "hashicorp/azurerm" = "$providers"
	    "Azure/azapi"       = "$providers"
	  }
	  direct {}
	}
	END
  export TF_CLI_CONFIG_FILE=$work/terraform.rc TF_IN_AUTOMATION=1
}

# middle runs on a copy: terraform writes beside what it reads, and a lock file made here would name our own builds.
middle() {
  local file name
  overrides
  cp -R infra "$work/infra"
  checker_go build -o "$work/infra-check" .
  terraform -chdir="$work/infra/terraform" get >/dev/null
  step "terraform validate" quiet terraform -chdir="$work/infra/terraform" validate -no-color
  for file in infra/terraform/{examples,tests}/*.tfvars; do
    name=$(basename "$file" .tfvars)
    TF_VAR_secrets=$("$work/infra-check" secrets "$PWD" "$name")
    export TF_VAR_secrets
    step "terraform test $name" quiet terraform -chdir="$work/infra/terraform" test -no-color -var-file="$PWD/$file"
    terraform -chdir="$work/infra/terraform" test -json -verbose -filter=tests/apply.tftest.hcl -var-file="$PWD/$file" >"$work/$name.json"
    # What Terraform made of the example is what the checker worked out, or the fast tier is worth nothing.
    "$work/infra-check" state "$PWD" "$name" "$work/$name.json"
  done
}

# quiet shows what a command says only when it fails, but for the line that counts.
quiet() {
  local said
  said=$("$@" 2>&1) || {
    printf '%s\n' "$said" >&2
    return 1
  }
  grep -E '^Success' <<<"$said" >&2
}

# build_provider builds one provider: module@version, name of the binary.
build_provider() {
  local source
  source=$(cd "$work" && "$GO" mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  [[ -n $source ]] || fail "$1 could not be downloaded"
  cp -R "$source" "$work/$2"
  chmod -R u+w "$work/$2"
  # The module's archive has a list of vendored packages but not the packages.
  rm -rf "$work/$2/vendor"
  (cd "$work/$2" && nice -n 19 "$GO" build -mod=mod -buildvcs=false -trimpath -ldflags '-s -w' -o "$providers/$2" .)
}

build_providers() {
  mkdir -p "$providers"
  step "build $azapi" build_provider "$azapi" terraform-provider-azapi
  step "build $azurerm (this takes a while)" build_provider "$azurerm" terraform-provider-azurerm
}

# sources makes both snapshots again. They have to come out byte for byte.
sources() {
  have npm || fail "npm is not installed"
  (cd "$work" && npm pack --silent "$types" >/dev/null && tar xzf ./*.tgz package/dist/Azure.Bicep.Types.Az.dll)
  checker_go run . types "$work/package/dist/Azure.Bicep.Types.Az.dll" "$work/types.json.gz"
  cmp "$work/types.json.gz" "$checker/arm/types.json.gz" || fail "arm/types.json.gz is not what $types gives: copy the new one, or see what changed"
  middle_schema
  cmp "$work/schema.json.gz" "$checker/tf/schema.json.gz" || fail "tf/schema.json.gz is not what the built providers say"
  say "both snapshots are what their sources give"
}

# middle_schema asks the providers for their schema.
middle_schema() {
  overrides
  mkdir -p "$work/schema"
  sed -n '/^terraform {/,/^}/p' infra/terraform/versions.tf >"$work/schema/main.tf"
  terraform -chdir="$work/schema" providers schema -json >"$work/providers.json"
  checker_go run . schema "$work/providers.json" "$work/schema.json.gz"
}

case ${1:-} in
'')
  fast
  if have terraform && [[ -x $providers/terraform-provider-azurerm ]]; then
    middle
  else
    skip "terraform validate and terraform test: scripts/infra-check.sh --build-providers, then scripts/infra-check.sh --middle"
  fi
  ;;
--fast) fast ;;
--middle) middle ;;
--build-providers) build_providers ;;
--sources) sources ;;
--help | -h) usage && exit ;;
*) wrong "unknown option $1" ;;
esac
for what in "${skipped[@]}"; do say "skipped: $what"; done
say "infra-check: everything that ran is in order"
