#!/usr/bin/env bash
# destroy.sh deletes an installation: the resource groups that carry its tag and its name, and with --purge what would be left of the
# Azure OpenAI accounts in them. It lists everything first, and refuses when a group holds things that the deployment did not make. Needs az.
#
# usage: scripts/destroy.sh --environment NAME [options]
#
#   --environment NAME    the value of the tag azd-env-name on the groups and on everything in them
#   --group NAME          a group with the tag and another name than rg-NAME, rg-NAME-2 or those of the deployment spillway-NAME
#   --purge               also purge the deleted accounts: frees their names and quota now instead of in 48 hours, for good
#   --with-strangers      delete also what the deployment did not make; it is never purged
#   --subscription ID     az's default when not given
#   --dry-run             print the plan and change nothing
#   --yes                 do not ask
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' SUBSCRIPTION='' group='' purge=no strangers=no
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
  --group) take group "$@" && shift ;;
  --subscription) take SUBSCRIPTION "$@" && shift ;;
  --purge) purge=yes ;;
  --with-strangers) strangers=yes ;;
  --dry-run) DRY_RUN=yes ;;
  --yes) YES=yes ;;
  --help | -h) usage && exit ;;
  *) wrong "unknown option $1" ;;
  esac
  shift
done
[[ -n $ENVIRONMENT ]] || wrong "--environment is missing"
need_environment

# within tells whether the first word is one of the others, whatever its case.
within() {
  local word
  for word in "${@:2}"; do
    [[ ${1,,} != "${word,,}" ]] || return 0
  done
  return 1
}

# Everything is read before anything is changed. A tag alone may have come by a policy that hands down the tags of a group,
# and a name alone by chance.
find_groups() {
  local name
  local -a tagged named=()
  deployments=()
  rows_of deployments "[?name=='spillway-$ENVIRONMENT'].name" deployment sub list
  if ((${#deployments[@]} > 0)); then
    read_outputs
    [[ -z ${OUTPUT_PATHS[resourceGroups]:-} ]] || output_of named resourceGroups
  fi
  rows_of tagged '[].name' group list --tag "azd-env-name=$ENVIRONMENT"
  groups=()
  for name in "${tagged[@]}"; do
    if within "$name" "rg-$ENVIRONMENT" "rg-$ENVIRONMENT-2" "${named[@]}" "$group"; then
      groups+=("$name")
    else
      say "left alone: the group $name has the tag, but not a name of this installation (--group $name takes it in)"
    fi
  done
  ((${#groups[@]} > 0)) || fail "no resource group has the tag azd-env-name=$ENVIRONMENT and a name of this installation; accounts that are deleted already: scripts/aoai-purge.sh --environment $ENVIRONMENT"
}

# find_resources fills resources with lines of group, type, name, id, tag, and finds the token that is part of every name:
# it is behind id- in the name of the identity, which is made first, and behind func- in the name of the app.
find_resources() {
  local name line type resource tag id
  local -a found
  resources=() token=''
  for name in "${groups[@]}"; do
    # shellcheck disable=SC2016 # the backquotes are JMESPath's
    rows_of found '[].[type, name, id, tags."azd-env-name" || `""`]' resource list --resource-group "$name"
    for line in "${found[@]}"; do
      resources+=("$name"$'\t'"$line")
      IFS=$'\t' read -r type resource id tag <<<"$line"
      [[ $tag == "$ENVIRONMENT" && ${type,,} =~ ^microsoft\.(managedidentity/userassignedidentities|web/sites)$ ]] || continue
      [[ $resource =~ ^(id|func)-([a-z0-9]+)(-2)?$ ]] || continue
      [[ -z $token || $token == "${BASH_REMATCH[2]}" ]] || fail "two installations have the tag azd-env-name=$ENVIRONMENT: -$token and -${BASH_REMATCH[2]}"
      token=${BASH_REMATCH[2]}
    done
  done
}

# made_here tells whether the deployment made a resource: type, name, tag. Azure itself adds interfaces of private endpoints and
# detectors without tags, whose names have the name of what they belong to in them, and one group of actions.
made_here() {
  local type=${1,,}
  [[ $type != microsoft.insights/actiongroups || $2 != 'Application Insights Smart Detection' ]] || return 0
  if [[ -n $token && $2 == *"$token"* ]]; then
    [[ $3 != "$ENVIRONMENT" ]] || return 0
    [[ $type != microsoft.network/networkinterfaces && $type != microsoft.alertsmanagement/* ]] || return 0
  fi
  [[ $3 == "$ENVIRONMENT" ]] || return 1
  case $type in
  microsoft.network/privatednszones*) [[ $2 == privatelink.* ]] ;;
  microsoft.network/dnszones | microsoft.insights/workbooks) ;;
  *) return 1 ;;
  esac
}

# find_accounts records the accounts to purge, lines of location, group, name: after the delete nobody can tell whose they were.
find_accounts() {
  local name line location account tag
  local -a found
  accounts=()
  for name in "${groups[@]}"; do
    # shellcheck disable=SC2016 # the backquotes are JMESPath's
    rows_of found '[].[location, name, tags."azd-env-name" || `""`]' cognitiveservices account list --resource-group "$name"
    for line in "${found[@]}"; do
      IFS=$'\t' read -r location account tag <<<"$line"
      if made_here microsoft.cognitiveservices/accounts "$account" "$tag"; then
        accounts+=("$location"$'\t'"$name"$'\t'"$account")
      else
        say "will not be purged: $account in $name, which the deployment did not make"
      fi
    done
  done
}

# show_plan lists what goes and refuses when something is not this installation's.
show_plan() {
  local name line in_group type resource tag id
  local -a others=()
  for name in "${groups[@]}"; do
    say "the group $name will be deleted, with everything in it:"
    for line in "${resources[@]}"; do
      IFS=$'\t' read -r in_group type resource id tag <<<"$line"
      [[ $in_group == "$name" ]] || continue
      if made_here "$type" "$resource" "$tag"; then
        say "  $type $resource"
      else
        say "  not of this installation: $id"
        others+=("$name")
      fi
    done
  done
  [[ ${#others[@]} -eq 0 || $strangers == yes ]] || fail "${others[0]} holds things that the deployment did not make: move them, or add --with-strangers"
  for line in "${accounts[@]}"; do
    IFS=$'\t' read -r type name resource <<<"$line"
    say "the account $resource in $type will be purged after that: nobody can bring it back"
  done
}

need_az
find_groups
find_resources
accounts=()
[[ $purge == no ]] || find_accounts
show_plan
confirm "$ENVIRONMENT" "This cannot be undone."

for name in "${groups[@]}"; do
  act_az group delete --name "$name" --yes
done
purge_accounts "${accounts[@]}"
((${#deployments[@]} == 0)) || act_az deployment sub delete --name "spillway-$ENVIRONMENT"
if [[ $DRY_RUN == no ]]; then
  there=''
  for name in "${groups[@]}"; do
    text_of there ask_az group exists --name "$name"
    [[ ${there,,} == false ]] || fail "the group $name is still there, although az reported that it was deleted"
  done
fi
need_purged "${accounts[@]}"
say "done"
