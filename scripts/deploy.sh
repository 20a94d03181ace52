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
#   --principal ID        object id of whoever uploads packages and reads the state; with a Premium plan whoever is signed in, when neither
#                         this option nor the parameters name somebody
#   --principal-type TYPE User (when not given), Group or ServicePrincipal
#   --publish-only        the resources are there, from an earlier run
#   --from-environment    with --publish-only: names come from the variables that azd sets, not from a deployment
#   --group NAME --app NAME   with --publish-only: one function app of a Flex Consumption plan, made by Terraform or anything else
#   --zip FILE            publish this package instead of making one
#   --wait SECONDS        longest time until the role for the upload is in force (Premium), and until the app is ready and answers as the
#                         version of the package, 300 when not given
#   --no-smoke            do not run scripts/smoke.sh afterwards
#   --what-if             show what Azure would change, and stop
#   --dry-run             print the plan and change nothing
#   --yes                 do not ask
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' LOCATION='' SUBSCRIPTION='' FROM_ENVIRONMENT=no group='' app='' zip='' publish_only=no smoke=yes what_if=no
principal='' principal_type='' wait=300
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
  --principal) take principal "$@" && shift ;;
  --principal-type) take principal_type "$@" && shift ;;
  --wait) take wait "$@" && shift ;;
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
need_environment
[[ $publish_only == yes || -n $LOCATION ]] || wrong "--location is missing"
[[ -z $LOCATION ]] || need_location
[[ $publish_only == yes || -f $parameters ]] || wrong "there is no file $parameters"
[[ -z $group$app || ($publish_only == yes && -n $group && -n $app) ]] || wrong "--group and --app go together, with --publish-only"
[[ $FROM_ENVIRONMENT == no || ($publish_only == yes && $smoke == no) ]] || wrong "--from-environment goes with --publish-only and --no-smoke"
[[ -z $principal$principal_type || ($publish_only == no && -n $principal) ]] || wrong "--principal goes without --publish-only, and --principal-type with it"
[[ ${principal_type:-User} =~ ^(User|Group|ServicePrincipal)$ ]] || wrong "--principal-type takes User, Group or ServicePrincipal"
[[ $wait =~ ^(0|[1-9][0-9]{0,4})$ ]] || wrong "--wait takes a number of seconds"
[[ -z $zip || -f $zip ]] || wrong "there is no file $zip"
[[ -z $app ]] || smoke=no # who is behind one app, and under which address, is not known here

# plan says what will be done, one numbered line after the other.
step=0
plan() { say "  $((++step)). $*"; }

# variables_read prints the names of the variables that the parameters read and have no default for.
variables_read() { { grep -oE "readEnvironmentVariable\('[A-Za-z0-9_]+'\)" "$parameters" || (($? == 1)); } | sed "s/.*'\\(.*\\)'.*/\\1/" | sort -u; }

# need_variables stops before Azure is asked for minutes of work when the parameters or the proof would miss something at their end.
need_variables() {
  local name missing='' key=${SPILLWAY_KEY:-${TEAM_A_KEY:-}}
  local -a names=()
  if [[ $publish_only == no ]]; then
    lines_of names variables_read
    for name in "${names[@]}"; do
      [[ -n ${!name:-} ]] || missing+=" $name"
      [[ $name == SPILLWAY_OPERATOR_KEY ]] || key+=${!name:-}
    done
    [[ -z $missing ]] || unset_variables "$parameters reads$missing from the environment: export them, for keys such as \$(openssl rand -hex 32)"
  fi
  [[ $smoke == no || $what_if == yes || (-n ${SPILLWAY_OPERATOR_KEY:-} && ($publish_only == yes || -n $key)) ]] ||
    unset_variables "the proof at the end calls and drains: export SPILLWAY_KEY (a consumer's) and SPILLWAY_OPERATOR_KEY, or add --no-smoke"
}

# unset_variables ends the script; a dry run goes on to show the rest.
unset_variables() { if [[ $DRY_RUN == yes ]]; then say "missing: $1"; else fail "$1"; fi; }

# find_principal gives whoever is signed in the role to upload, when the package of a Premium plan is to be uploaded and nobody has it.
find_principal() {
  local -a user=()
  [[ -z $principal ]] || return 0
  grep -qE "^param plan *= *'premium'" "$parameters" && ! grep -qE '^param principalId\b' "$parameters" || return 0
  rows_of user '[user.type, user.name]' account show
  if [[ ${user[0]:-} == user ]]; then
    principal_type=User && text_of principal az ad signed-in-user show --query id --output tsv
  else
    principal_type=ServicePrincipal && text_of principal az ad sp show --id "${user[1]:-}" --query id --output tsv
  fi
  [[ -n $principal ]] || fail "nobody knows the object id of who is signed in: give --principal and --principal-type"
}

# need_own_groups ends the script where a group that the deployment would take is there already and has not its tag: the deployment would
# write its own tags over those of the group, and destroy.sh would delete it.
need_own_groups() {
  local line name tag
  local -a groups
  ! grep -qE '^param resourceGroupName\b' "$parameters" || return 0 # a group of another name, on purpose
  # shellcheck disable=SC2016 # the backquotes are JMESPath's
  rows_of groups '[].[name, tags."azd-env-name" || `"_"`]' group list
  for line in "${groups[@]}"; do
    IFS=$'\t' read -r name tag <<<"$line"
    [[ ${name,,} == "rg-${ENVIRONMENT,,}" || ${name,,} == "rg-${ENVIRONMENT,,}-2" ]] || continue
    [[ $tag == "$ENVIRONMENT" ]] ||
      fail "the group $name is there, and is not of this installation: take another --environment, or hand the group over by: az tag update --operation Merge --tags azd-env-name=$ENVIRONMENT --resource-id /subscriptions/ID/resourceGroups/$name"
  done
}

# provision makes or updates the resources. The examples take name and region from the two variables.
provision() {
  export SPILLWAY_ENVIRONMENT=$ENVIRONMENT SPILLWAY_LOCATION=$LOCATION
  local provider
  local -a template=(--name "spillway-$ENVIRONMENT" --location "$LOCATION" --parameters "$parameters")
  [[ -z $principal ]] || template+=(--parameters "principalId=$principal" "principalType=${principal_type:-User}")
  if [[ $what_if == yes ]]; then
    ask_az deployment sub what-if "${template[@]}"
    exit
  fi
  [[ $DRY_RUN == yes ]] || need_own_groups
  for provider in App CognitiveServices Insights OperationalInsights Storage Web; do
    act_az provider register --namespace "Microsoft.$provider" --wait
  done
  act_az deployment sub create "${template[@]}" || explain
}

# explain ends the script after a failed deployment with what failed, and in which region: the service's own message about missing
# capacity names the model and not the region.
explain() {
  local line where what account
  local -a failed accounts
  rows_of failed "[?properties.provisioningState=='Failed'].[properties.targetResource.resourceName, to_string(properties.statusMessage.error)]" \
    deployment operation sub list --name "spillway-$ENVIRONMENT"
  rows_of accounts "[?tags.\"azd-env-name\"=='$ENVIRONMENT'].[name, location]" cognitiveservices account list
  for line in "${failed[@]}"; do
    IFS=$'\t' read -r where what <<<"$line"
    for account in "${accounts[@]}"; do
      [[ $where != openai-* || $account != "aoai-${where#openai-}-"* ]] || where+=" in ${account#*$'\t'}"
    done
    say "failed: $where: $what"
  done
  fail "the deployment spillway-$ENVIRONMENT failed; InsufficientQuota: scripts/aoai-status.sh --quota --deleted; FlagMustBeSetForRestore: restoreAccounts, or scripts/aoai-purge.sh"
}

# publish sends the package to one function app: group, app, container of packages.
publish() {
  local site
  if [[ $hosting == premium ]]; then
    text_of site ask_az functionapp show --resource-group "$1" --name "$2" --query id --output tsv
    upload "$3/spillway.zip"
    # The address of the package stays the same, so that only a restart makes the app fetch it; the triggers of a package at an
    # address of one's own are never found by themselves (Learn: functions-deployment-technologies, "Trigger syncing").
    act_az functionapp restart --resource-group "$1" --name "$2"
    act az rest --method post --url "$site/syncfunctiontriggers?api-version=2016-08-01" --output none
    return
  fi
  act_az functionapp deployment source config-zip --resource-group "$1" --name "$2" --src "$zip"
}

# upload puts the package into its container. A role that has just been given takes minutes until it is in force.
upload() {
  local waited=0
  until act_az storage blob upload --auth-mode login --blob-url "$1" --file "$zip" --overwrite; do
    ((waited < wait)) || fail "$1 was not uploaded: whoever is signed in needs Storage Blob Data Contributor on its container (--principal), and a way into its network"
    say "the upload was refused; trying again: a new role takes minutes"
    sleep 10
    ((waited += 10))
  done
}

# approve lets Front Door in by Private Link, when it asked: group, app, id of the Front Door. Anybody may ask, with any text; the id is
# told to the function app alone, and each app has one origin. So a text without it, and a second request with it, is somebody else's.
approve() {
  local site line id endpoint text mine="Front Door of Spillway $3"
  local -a pending own=()
  text_of site ask_az functionapp show --resource-group "$1" --name "$2" --query id --output tsv
  # shellcheck disable=SC2016 # the backquotes are JMESPath's
  rows_of pending "[?properties.privateLinkServiceConnectionState.status=='Pending'].[id, properties.privateEndpoint.id || \`\"_\"\`, properties.privateLinkServiceConnectionState.description]" \
    network private-endpoint-connection list --id "$site"
  for line in "${pending[@]}"; do
    IFS=$'\t' read -r id endpoint text <<<"$line"
    if [[ $text == "$mine" ]]; then
      say "asks to reach $2: $endpoint"
      own+=("$id")
    else
      say "not approved, because its text is not \"$mine\": $id"
    fi
  done
  ((${#own[@]} < 2)) || fail "${#own[@]} requests to reach $2 name this Front Door, which has asked once: approve the right one and reject the others by hand, by: az network private-endpoint-connection"
  for id in "${own[@]}"; do
    act_az network private-endpoint-connection approve --id "$id" --description "$mine"
  done
}

# need_succeeded ends the script unless the deployment has come to a good end: the outputs of one that runs or has failed are of before.
need_succeeded() {
  local -a state
  deployment_rows state properties.provisioningState
  [[ ${state[0]:-} == Succeeded ]] ||
    fail "the deployment spillway-$ENVIRONMENT is in the state ${state[0]:-(unknown)}, not Succeeded: nothing was published"
}

# version_of_zip prints the version of a package that scripts/release.sh has named.
version_of_zip() { sed -nE 's/^spillway-(.+)-linux-(amd64|arm64)\.zip$/\1/p' <<<"${1##*/}"; }

say "This will, for the installation $ENVIRONMENT:"
[[ $publish_only == yes ]] || plan "make or update the resources of $parameters in $LOCATION (deployment spillway-$ENVIRONMENT)"
if [[ -n $zip ]]; then plan "take the package $zip"; else plan "package the program as build/spillway.zip"; fi
if [[ -n $app ]]; then plan "publish it to the function app $app"; else plan "publish it to the function app of each region"; fi
[[ $smoke == no ]] || plan "run scripts/smoke.sh: call, drain a backend, call again, restore it"
need_variables
if [[ $DRY_RUN == yes && ($publish_only == no || -n $app) ]] && ! (need_az); then
  say "so nobody can say which subscription that would be"
else
  [[ $DRY_RUN == yes && ($publish_only == no || -n $app) ]] || need_az
  [[ $publish_only == yes ]] || find_principal
fi
[[ $what_if == yes ]] || confirm "$ENVIRONMENT" "Resources cost money from now on."

[[ $publish_only == yes ]] || provision
version=$(version_of_zip "$zip")
if [[ -z $zip ]]; then
  zip=build/spillway.zip version=$(version_of_tree)
  VERSION=$version act scripts/package.sh "$zip"
elif [[ -z $version && $smoke == yes ]]; then
  say "the name of $zip does not tell its version, so that an older package would pass the proof as well: scripts/smoke.sh --version"
fi

hosting=flex
if [[ -n $app ]]; then
  publish "$group" "$app" ''
elif [[ $DRY_RUN == yes && $publish_only == no ]]; then
  say "+ (publish to each function app that the deployment names)"
else
  plans=() groups=() apps=() containers=() door=()
  if [[ $FROM_ENVIRONMENT == no ]]; then
    need_succeeded
    read_outputs
  fi
  output_of plans plan
  output_of groups resourceGroups
  output_of apps functionApps
  output_of containers packageContainers
  output_of door frontDoorId
  hosting=${plans[0]:-}
  [[ $hosting == flex || $hosting == premium ]] || fail "AZURE_FUNCTION_APP_PLAN is '$hosting', neither flex nor premium"
  ((${#apps[@]} > 0)) || fail "the deployment spillway-$ENVIRONMENT names no function app: run without --publish-only first"
  [[ ${#groups[@]} -eq ${#apps[@]} && ${#containers[@]} -eq ${#apps[@]} ]] || fail "the outputs name ${#apps[@]} function apps, ${#groups[@]} groups and ${#containers[@]} containers"
  for i in "${!apps[@]}"; do
    publish "${groups[i]}" "${apps[i]}" "${containers[i]}"
    [[ ${#door[@]} -eq 0 ]] || approve "${groups[i]}" "${apps[i]}" "${door[0]}"
  done
fi

[[ $smoke == no ]] || act scripts/smoke.sh --environment "$ENVIRONMENT" --wait "$wait" ${version:+--version "$version"} ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"}
[[ $DRY_RUN == yes || $smoke == yes ]] || say "published; whether it serves and fails over was not looked at: scripts/smoke.sh --environment $ENVIRONMENT"
say "done"
