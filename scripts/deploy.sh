#!/usr/bin/env bash
# deploy.sh makes everything in Azure, packages the program, publishes it and proves that it fails over. Needs az, and go for the package.
#
# usage: scripts/deploy.sh --environment NAME --location REGION [--parameters FILE] [options]
#        scripts/deploy.sh --environment NAME --publish-only [options]
#
#   --environment NAME    names the installation: the deployment spillway-NAME, and the environment of the examples
#   --location REGION     region of the function app, such as swedencentral
#   --parameters FILE     a .bicepparam file; infra/bicep/examples/minimum.bicepparam when not given.
#                         What it reads from the environment (TEAM_A_KEY, SPILLWAY_OPERATOR_KEY) has to be exported.
#   --subscription ID     az's default when not given
#   --publish-only        the resources are there, from an earlier run
#   --from-environment    with --publish-only: names come from the variables that azd sets, not from a deployment
#   --group NAME --app NAME   with --publish-only: one function app of a Flex Consumption plan, made by Terraform or anything else
#   --zip FILE            publish this package instead of making one
#   --no-smoke            do not run scripts/smoke.sh afterwards
#   --what-if             show what Azure would change, and stop
#   --dry-run             print the plan and change nothing
#   --yes                 do not ask
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' LOCATION='' SUBSCRIPTION='' FROM_ENVIRONMENT=no group='' app='' zip='' publish_only=no smoke=yes what_if=no
parameters=infra/bicep/examples/minimum.bicepparam
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
  --location) take LOCATION "$@" && shift ;;
  --parameters) take parameters "$@" && parameters=$(file_of "$parameters") && shift ;;
  --subscription) take SUBSCRIPTION "$@" && shift ;;
  --group) take group "$@" && shift ;;
  --app) take app "$@" && shift ;;
  --zip) take zip "$@" && zip=$(file_of "$zip") && shift ;;
  --publish-only) publish_only=yes ;;
  --from-environment) FROM_ENVIRONMENT=yes ;;
  --no-smoke) smoke=no ;;
  --what-if) what_if=yes ;;
  --dry-run) DRY_RUN=yes ;;
  --yes) YES=yes ;;
  --help | -h) usage && exit ;;
  *) wrong "unknown option $1" ;;
  esac
  shift
done
[[ -n $ENVIRONMENT ]] || wrong "--environment is missing"
[[ $ENVIRONMENT =~ ^[A-Za-z0-9-]{1,32}$ ]] || wrong "--environment takes 1 to 32 letters, digits and hyphens"
[[ $publish_only == yes || -n $LOCATION ]] || wrong "--location is missing"
[[ $publish_only == yes || -f $parameters ]] || wrong "there is no file $parameters"
[[ -z $group$app || ($publish_only == yes && -n $group && -n $app) ]] || wrong "--group and --app go together, with --publish-only"
[[ $FROM_ENVIRONMENT == no || ($publish_only == yes && $smoke == no) ]] || wrong "--from-environment goes with --publish-only and --no-smoke"
[[ -z $zip || -f $zip ]] || wrong "there is no file $zip"
[[ -z $app ]] || smoke=no # who is behind one app, and under which address, is not known here

# plan says what will be done, one numbered line after the other.
step=0
plan() { say "  $((++step)). $*"; }

# need_variables stops before Azure is asked for minutes of work when the parameters or the proof would miss something at their end.
need_variables() {
  local name missing=''
  if [[ $publish_only == no ]]; then
    while read -r name; do
      [[ -n ${!name:-} ]] || missing+=" $name"
    done < <(grep -o "readEnvironmentVariable('[A-Za-z0-9_]*')" "$parameters" | sed "s/.*'\\(.*\\)'.*/\\1/" | sort -u)
    [[ -z $missing ]] || unset_variables "$parameters reads$missing from the environment: export them, for keys such as \$(openssl rand -hex 32)"
  fi
  [[ $smoke == no || $what_if == yes || (-n ${SPILLWAY_KEY:-${TEAM_A_KEY:-}} && -n ${SPILLWAY_OPERATOR_KEY:-}) ]] ||
    unset_variables "the proof at the end calls and drains: export SPILLWAY_KEY (a consumer's) and SPILLWAY_OPERATOR_KEY, or add --no-smoke"
}

# unset_variables ends the script; a dry run goes on to show the rest.
unset_variables() { if [[ $DRY_RUN == yes ]]; then say "missing: $1"; else fail "$1"; fi; }

# provision makes or updates the resources. The examples take name and region from the two variables.
provision() {
  export SPILLWAY_ENVIRONMENT=$ENVIRONMENT SPILLWAY_LOCATION=$LOCATION
  local -a template=(--name "spillway-$ENVIRONMENT" --location "$LOCATION" --parameters "$parameters")
  if [[ $what_if == yes ]]; then
    ask_az deployment sub what-if "${template[@]}"
    exit
  fi
  local provider
  for provider in App CognitiveServices Insights OperationalInsights Storage Web; do
    act_az provider register --namespace "Microsoft.$provider"
  done
  act_az deployment sub create "${template[@]}"
}

# publish sends the package to one function app: group, app, container of packages.
publish() {
  if [[ $hosting == premium ]]; then
    act_az storage blob upload --auth-mode login --blob-url "$3/spillway.zip" --file "$zip" --overwrite
    act_az functionapp restart --resource-group "$1" --name "$2"
    return
  fi
  act_az functionapp deployment source config-zip --resource-group "$1" --name "$2" --src "$zip"
}

# approve lets Front Door in by Private Link, when it asked.
approve() {
  local id site
  site=$(ask_az functionapp show --resource-group "$1" --name "$2" --query id --output tsv)
  while read -r id; do
    [[ -z $id ]] || act_az network private-endpoint-connection approve --id "$id" --description 'Front Door of Spillway'
  done < <(ask_az network private-endpoint-connection list --id "$site" --output tsv \
    --query "[?properties.privateLinkServiceConnectionState.status=='Pending' && properties.privateLinkServiceConnectionState.description=='Front Door of Spillway'].id")
}

say "This will, for the installation $ENVIRONMENT:"
[[ $publish_only == yes ]] || plan "make or update the resources of $parameters in $LOCATION (deployment spillway-$ENVIRONMENT)"
if [[ -n $zip ]]; then plan "take the package $zip"; else plan "package the program as build/spillway.zip"; fi
if [[ -n $app ]]; then plan "publish it to the function app $app"; else plan "publish it to the function app of each region"; fi
[[ $smoke == no ]] || plan "run scripts/smoke.sh: call, drain a backend, call again, restore it"
need_variables
if [[ $DRY_RUN == yes && ($publish_only == no || -n $app) ]] && ! have az; then
  say "az is not installed, so nobody can say which subscription that would be: https://aka.ms/azure-cli"
else
  need_az
fi
confirm "$ENVIRONMENT" "Resources cost money from now on."

[[ $publish_only == yes ]] || provision
[[ -n $zip ]] || { zip=build/spillway.zip && act scripts/package.sh "$zip"; }

hosting=flex
if [[ -n $app ]]; then
  publish "$group" "$app" ''
elif [[ $DRY_RUN == yes && $publish_only == no ]]; then
  say "+ (publish to each function app that the deployment names)"
else
  hosting=$(output AZURE_FUNCTION_APP_PLAN)
  mapfile -t groups < <(output AZURE_RESOURCE_GROUPS)
  mapfile -t apps < <(output AZURE_FUNCTION_APP_NAMES)
  mapfile -t containers < <(output AZURE_PACKAGE_CONTAINERS)
  ((${#apps[@]} > 0)) || fail "the deployment spillway-$ENVIRONMENT names no function app: run without --publish-only first"
  for i in "${!apps[@]}"; do
    publish "${groups[i]}" "${apps[i]}" "${containers[i]}"
    [[ -z $(output AZURE_FRONT_DOOR_ID) ]] || approve "${groups[i]}" "${apps[i]}"
  done
fi

[[ $smoke == no ]] || act scripts/smoke.sh --environment "$ENVIRONMENT" ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"}
say "done"
