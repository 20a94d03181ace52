#!/usr/bin/env bash
# infra-check.sh checks infra/ and the scripts that use it. Nothing is deployed, and no network is needed once the Go modules are there.
#
# usage: scripts/infra-check.sh [--fast | --update [bicep | terraform] | --build-providers]
#
#   (none)             the fast tier; then the Bicep compiler and Terraform with its providers, each where it is installed. What was not
#                      run is said at the end, with how to get it
#   --fast             needs only Go: rules and parity on what the compiler and Terraform made when it was committed (previews, the compiled
#                      template, plans with mocked providers), app settings given to `spillway validate`, scripts against a recorded az
#   --update           makes the previews and the compiled template, or the plans, or both anew
#   --build-providers  builds Terraform's providers from the Go module proxy into build/tools/terraform: 4 GB of memory, 12 CPU minutes
#
# BICEP names the Bicep command line where it is not on the PATH, TERRAFORM_PROVIDERS a folder of providers built elsewhere.
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

checker=scripts/infra-check
providers=${TERRAFORM_PROVIDERS:-$PWD/build/tools/terraform}
azurerm=github.com/hashicorp/terraform-provider-azurerm@v1.44.1-0.20260824201233-fae580791926
azapi=github.com/Azure/terraform-provider-azapi@v1.15.0
bicep=${BICEP:-bicep}
subscription=00000000-0000-0000-0000-000000000000
tenant=11111111-1111-1111-1111-111111111111
update=
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
  checker_go build -o "$work/infra-check" .
  step "rules and parity" "$work/infra-check" check "$PWD"
  env -u GOOS -u GOARCH "$GO" build -o "$work/spillway" ./handler
  step "give app settings to spillway validate" "$work/infra-check" accept "$PWD" "$work/spillway"
  # Go's cache of test results does not see files outside the checker's module, which is where infra and the scripts are. The tests
  # of the scripts take a minute and a half of CPU: they read the hash of those files from their environment, which the cache does see.
  SPILLWAY_SOURCES=$(sources) step "scripts against a recorded az" checker_go test -timeout 30m -skip AgainstTheProgram ./scripttest
  SPILLWAY_BINARY=$work/spillway step "smoke.sh against the program" checker_go test -count=1 -run AgainstTheProgram ./scripttest
  step "tests of the checks" checker_go test -count=1 ./accept ./arm ./check ./finding ./plan ./rules
  # The checker is a module of its own, which a linter started at the top does not enter.
  if [[ -x build/tools/bin/golangci-lint ]]; then
    step "lint the checker" lint_checker
  else
    skip "golangci-lint: scripts/tools/install.sh golangci-lint"
  fi
}

# sources is a hash of what the tests of the scripts run and read.
sources() { find scripts/*.sh scripts/tools infra host.json handler/main.go -type f -not -path '*/node_modules/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum; }

# compiler runs the Bicep command line on a copy of infra: it writes beside what it reads.
compiler() {
  local name file
  # The variables that the examples read; what is in them does not matter.
  export TEAM_A_KEY=x SEARCH_KEY=x LAST_RESORT_KEY=x EUROPE_KEY=x SPILLWAY_OPERATOR_KEY=x
  cp -R infra "$work/bicep"
  step "bicep format" formatted
  step "bicep lint" linted
  step "bicep build" "$bicep" build --outfile "$work/main.json" infra/bicep/main.bicep
  same "$work/main.json" infra/azuredeploy.json
  for file in infra/bicep/{examples,tests}/*.bicepparam; do
    name=${file#infra/bicep/}
    step "bicep snapshot $name" snapshot "$work/bicep/bicep/$name"
    same "$work/bicep/bicep/${name%.bicepparam}.snapshot.json" "${file%.bicepparam}.snapshot.json"
  done
  step "bicep snapshot main.parameters.json" azd_snapshot
  step "bicep snapshot of what is refused" refused
  [[ -z $update ]] || "$work/infra-check" sums "$PWD" bicep >infra/bicep/sources.sum
}

formatted() {
  local pattern
  for pattern in '*.bicep' 'modules/*.bicep' 'examples/*.bicepparam' 'tests/*.bicepparam'; do
    (cd "$work/bicep/bicep" && "$bicep" format --pattern "$pattern" >/dev/null)
  done
  if [[ -n $update ]]; then
    cp -R "$work"/bicep/bicep/{main.bicep,modules,examples,tests} infra/bicep
  else
    diff -ru --exclude='*.json' infra/bicep "$work/bicep/bicep"
  fi
}

# linted fails on any diagnostic, of main.bicep and the modules behind it: a misspelt property is a warning, and the exit code is 0.
linted() {
  "$bicep" lint --diagnostics-format sarif infra/bicep/main.bicep >"$work/lint.sarif" || true
  grep -q '"results"' "$work/lint.sarif" || fail "bicep lint did not lint: $(head -c 300 "$work/lint.sarif")"
  ! grep -E '"(ruleId|text|uri|startLine)"' "$work/lint.sarif" | grep -A3 ruleId >&2 || fail "bicep lint found something"
}

# snapshot previews one set of parameters. What it says on the way is a diagnostic.
snapshot() {
  "$bicep" snapshot --mode overwrite --subscription-id "$subscription" --tenant-id "$tenant" --location swedencentral "$1" >"$work/said" 2>&1 || {
    cat "$work/said" >&2
    return 1
  }
  if grep -E 'Warning|Error|ShortCircuited' "$work/said" "${1%.bicepparam}.snapshot.json" >&2; then return 1; fi
}

# azd_snapshot previews what azd deploys, with its variables filled in.
azd_snapshot() {
  sed -E 's/\$\{AZURE_PRINCIPAL_TYPE[^}]*\}/User/; s/\$\{AZURE_PRINCIPAL_ID[^}]*\}//; s/\$\{AZURE_LOCATION\}/swedencentral/; s/\$\{([A-Z_]+)[^}]*\}/azd-value/' \
    infra/bicep/main.parameters.json >"$work/azd.json"
  "$bicep" decompile-params "$work/azd.json" --bicep-file "$work/bicep/bicep/main.bicep" --outfile "$work/bicep/bicep/azd.bicepparam" >/dev/null 2>&1
  snapshot "$work/bicep/bicep/azd.bicepparam"
}

# refused has the compiler run the refusals of main.bicep (fail): each of its texts has to come up.
refused() {
  local file text
  local -a texts
  mapfile -t texts < <(sed -n "s/^ *text: '\(.*\)'$/\1/p" infra/bicep/main.bicep)
  ((${#texts[@]} > 15)) || fail "the refusals of main.bicep were not found"
  for file in "$checker"/refused/*.bicepparam; do
    cp "$file" "$work/bicep/bicep/tests"
    ! snapshot "$work/bicep/bicep/tests/${file##*/}" 2>>"$work/refusals" || fail "$file was not refused"
  done
  for text in "${texts[@]}"; do
    grep -qF "$text" "$work/refusals" || fail "no set of parameters in $checker/refused is refused with: $text"
  done
}

# same compares what a tool made with what is committed, or takes it over.
same() {
  "$work/infra-check" sorted "$1" >"$work/sorted.json"
  if [[ -n $update ]]; then
    cp "$work/sorted.json" "$2"
  else
    diff -u "$2" "$work/sorted.json" || fail "$2 is not what $(basename "$1") is now: scripts/infra-check.sh --update"
  fi
}

# lint_scripts is a part of `make lint`, too.
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
  terraform -chdir="$work/infra/terraform" get >/dev/null
  step "terraform validate" quiet terraform -chdir="$work/infra/terraform" validate -no-color
  TF_VAR_secrets=$("$work/infra-check" secrets "$PWD" examples/minimum)
  export TF_VAR_secrets
  step "terraform test" quiet terraform -chdir="$work/infra/terraform" test -no-color -filter=tests/plan.tftest.hcl -var-file="$PWD/infra/terraform/examples/minimum.tfvars"
  for file in infra/terraform/{examples,tests}/*.tfvars; do
    name=${file#infra/terraform/}
    name=${name%.tfvars}
    step "terraform test $name" planned "$name"
    same "$work/plan.json" "infra/terraform/$name.plan.json"
  done
  [[ -z $update ]] || "$work/infra-check" sums "$PWD" terraform >infra/terraform/sources.sum
}

# planned applies an example with mocks: once to see what there is, once more with a value of its own for each result that others use.
planned() {
  local tests=$work/infra/terraform/tests
  TF_VAR_secrets=$("$work/infra-check" secrets "$PWD" "$1")
  export TF_VAR_secrets
  apply_mocked apply "$1" "$work/first"
  cp "$tests/apply.tftest.hcl" "$tests/second.tftest.hcl"
  "$work/infra-check" overrides "$work/first" >>"$tests/second.tftest.hcl"
  apply_mocked second "$1" "$work/second"
  "$work/infra-check" plan "$PWD" "$work/first" "$work/second" >"$work/plan.json"
}

apply_mocked() {
  terraform -chdir="$work/infra/terraform" test -json -verbose -filter="tests/$1.tftest.hcl" -var-file="$PWD/infra/terraform/$2.tfvars" >"$3" || {
    grep -E '"@level":"error"' "$3" >&2
    return 1
  }
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

tools() {
  lint_scripts
  if have "$bicep"; then
    compiler
  else
    skip "bicep format, build, lint and snapshot: az bicep install, then put ~/.azure/bin on the PATH or give BICEP=/path/to/bicep"
  fi
  if have terraform; then
    step "terraform fmt" terraform fmt -check -recursive -diff infra/terraform
  else
    skip "terraform fmt: install Terraform 1.9 or newer (https://developer.hashicorp.com/terraform/install)"
  fi
  if have terraform && [[ -x $providers/terraform-provider-azurerm ]]; then
    middle
  else
    skip "terraform validate, test and plan: with Terraform installed, scripts/infra-check.sh --build-providers"
  fi
}

case ${1:-} in
'')
  fast
  tools
  ;;
--fast) fast ;;
--update)
  update=yes
  checker_go build -o "$work/infra-check" .
  if [[ ${2:-bicep} == bicep ]]; then
    have "$bicep" || fail "the Bicep command line is not installed: az bicep install, or BICEP=/path/to/bicep"
    compiler
  fi
  [[ ${2:-terraform} != terraform ]] || middle
  ;;
--build-providers) build_providers ;;
--help | -h) usage && exit ;;
*) wrong "unknown option $1" ;;
esac
for what in "${skipped[@]}"; do say "not run: $what"; done
say "infra-check: everything that ran is in order"
