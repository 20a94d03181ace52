#!/usr/bin/env bash
# destroy.sh deletes an installation: the resource groups that carry its tag and its name and hold what only Spillway makes, and with
# --purge what would be left of the Azure OpenAI accounts in them. It lists everything first, and refuses when a group holds things that
# the deployment did not make. Needs az.
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

# find_resources fills resources with lines of group, type, name, id, tag, and service.
find_resources() {
  local name line
  local -a found
  resources=()
  for name in "${groups[@]}"; do
    # shellcheck disable=SC2016 # the backquotes are JMESPath's
    rows_of found '[].[type, name, id, tags."azd-env-name" || `"_"`, tags."azd-service-name" || `"_"`]' resource list --resource-group "$name"
    for line in "${found[@]}"; do
      resources+=("$name"$'\t'"$line")
    done
  done
}

# find_token finds the token of 13 characters that is part of every name. Every project of azd has groups called rg-NAME, the tag, and a
# token in its names; what only Spillway makes is a function app func-TOKEN of the service `spillway`. A deployment that failed before
# that has made an identity id-TOKEN, in a group that the record of the deployment spillway-NAME names.
find_token() {
  local line in_group type resource tag service
  local -a recorded=()
  token=''
  ((${#deployments[@]} == 0)) ||
    rows_of recorded "[?properties.targetResource.resourceType=='Microsoft.Resources/resourceGroups'].properties.targetResource.resourceName" \
      deployment operation sub list --name "spillway-$ENVIRONMENT"
  for line in "${resources[@]}"; do
    IFS=$'\t' read -r in_group type resource _ tag service <<<"$line"
    [[ $tag == "$ENVIRONMENT" ]] || continue
    case ${type,,} in
    microsoft.web/sites) [[ $service == spillway && $resource =~ ^func-([a-z0-9]{13})(-2)?$ ]] || continue ;;
    microsoft.managedidentity/userassignedidentities)
      within "$in_group" "${recorded[@]}" || continue
      [[ $resource =~ ^id-([a-z0-9]{13})$ ]] || continue
      ;;
    *) continue ;;
    esac
    [[ -z $token || $token == "${BASH_REMATCH[1]}" ]] || fail "two installations have the tag azd-env-name=$ENVIRONMENT: -$token and -${BASH_REMATCH[1]}"
    token=${BASH_REMATCH[1]}
  done
}

# need_own_groups leaves only groups in which something of this installation is seen: an empty list is no reason to delete a group.
need_own_groups() {
  local name line in_group type resource id tag
  local -a own=()
  for name in "${groups[@]}"; do
    for line in "${resources[@]}"; do
      IFS=$'\t' read -r in_group type resource id tag _ <<<"$line"
      if [[ $in_group == "$name" && $tag == "$ENVIRONMENT" ]] && named_here "$resource"; then
        own+=("$name")
        break
      fi
    done
    within "$name" "${own[@]}" ||
      say "left alone: the group $name has the tag and a name of this installation, but nothing of it is seen there: no function app func-TOKEN of Spillway, or nothing with its token; it goes by: az group delete --name $name"
  done
  ((${#own[@]} > 0)) || fail "nothing was deleted: no group is certainly of the installation $ENVIRONMENT"
  ((${#own[@]} == ${#groups[@]})) || deployments=() # its record still tells what is left
  groups=("${own[@]}")
}

# named_here tells whether the token is part of a name as the templates write it: between hyphens, or in names that allow none.
named_here() {
  local whole="(^|[-/ ])(st|waf)?$token(state|2)?([-./]|$)"
  [[ -n $token && ${1,,} =~ $whole ]]
}

# made_here tells whether the deployment made a resource: group, type, name, id, tag. Azure itself adds interfaces of private endpoints
# and detectors without tags, whose names have the name of what they belong to in them, and one group of actions. Zones and workbooks
# have no token in their names: what only Spillway writes is the link `spillway` of a zone, the record of its Front Door in a zone of
# yours, and the workspace of a workbook.
made_here() {
  local type=${2,,}
  local -a found
  [[ $type != microsoft.insights/actiongroups || $3 != 'Application Insights Smart Detection' ]] || return 0
  if named_here "$3"; then
    [[ $5 != "$ENVIRONMENT" ]] || return 0
    [[ $type != microsoft.network/networkinterfaces || $3 != pe-* ]] || return 0
    [[ $type != microsoft.alertsmanagement/* ]] || return 0
  fi
  [[ $5 == "$ENVIRONMENT" ]] || return 1
  case $type in
  microsoft.network/privatednszones) [[ $3 == privatelink.* ]] && linked_here "$1" "$3" ;;
  microsoft.network/privatednszones/virtualnetworklinks) [[ $3 == privatelink.*/spillway ]] ;;
  microsoft.network/dnszones)
    rows_of found '[].to_string(@)' network dns record-set list --resource-group "$1" --zone-name "$3"
    [[ -n $token && ${found[*]} =~ [^a-z0-9]"spillway-$token"[^a-z0-9] ]]
    ;;
  microsoft.insights/workbooks)
    rows_of found 'properties.sourceId' resource show --ids "$4"
    [[ -n $token && ${found[*],,} == */"log-$token" ]]
    ;;
  *) return 1 ;;
  esac
}

# linked_here tells whether a zone has the link that Spillway gives its zones.
linked_here() {
  local line in_group type resource tag
  for line in "${resources[@]}"; do
    IFS=$'\t' read -r in_group type resource _ tag _ <<<"$line"
    [[ $in_group != "$1" || ${type,,} != */virtualnetworklinks || $resource != "$2/spillway" || $tag != "$ENVIRONMENT" ]] || return 0
  done
  return 1
}

# find_accounts records the accounts to purge, lines of location, group, name: after the delete nobody can tell whose they were.
find_accounts() {
  local name line location account tag
  local -a found
  accounts=()
  for name in "${groups[@]}"; do
    # shellcheck disable=SC2016 # the backquotes are JMESPath's
    rows_of found '[].[location, name, tags."azd-env-name" || `"_"`]' cognitiveservices account list --resource-group "$name"
    for line in "${found[@]}"; do
      IFS=$'\t' read -r location account tag <<<"$line"
      if [[ $tag == "$ENVIRONMENT" ]] && named_here "$account"; then
        accounts+=("$location"$'\t'"$name"$'\t'"$account")
      else
        say "will not be purged: $account in $name, which the deployment did not make"
      fi
    done
  done
}

# show_plan lists what goes and refuses when something is not this installation's.
show_plan() {
  local name line in_group type resource id tag
  local -a others=()
  for name in "${groups[@]}"; do
    say "the group $name will be deleted, with everything in it:"
    for line in "${resources[@]}"; do
      IFS=$'\t' read -r in_group type resource id tag _ <<<"$line"
      [[ $in_group == "$name" ]] || continue
      if made_here "$name" "$type" "$resource" "$id" "$tag"; then
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
find_token
need_own_groups
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
