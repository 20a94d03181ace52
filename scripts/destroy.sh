#!/usr/bin/env bash
# destroy.sh deletes an installation: the resource groups that carry its tag, and with --purge what would be left of its Azure OpenAI accounts.
# It refuses when a group holds things of somebody else. Needs az.
#
# usage: scripts/destroy.sh --environment NAME [options]
#
#   --environment NAME    the value of the tag azd-env-name on the groups
#   --purge               also purge the deleted accounts: frees their names and quota now instead of in 48 hours, for good
#   --with-strangers      delete also what does not carry the tag
#   --subscription ID     az's default when not given
#   --dry-run             print the plan and change nothing
#   --yes                 do not ask
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' SUBSCRIPTION='' purge=no strangers=no
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
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
[[ $ENVIRONMENT =~ ^[A-Za-z0-9-]{1,32}$ ]] || wrong "--environment takes 1 to 32 letters, digits and hyphens"

need_az
mapfile -t groups < <(ask_az group list --tag "azd-env-name=$ENVIRONMENT" --query '[].name' --output tsv)
((${#groups[@]} > 0)) || fail "no resource group has the tag azd-env-name=$ENVIRONMENT"

# Azure itself adds network interfaces and detectors without tags; they go with what they belong to.
others="[?tags.\"azd-env-name\" != '$ENVIRONMENT' && type != 'Microsoft.Network/networkInterfaces' && !starts_with(type, 'microsoft.alertsmanagement/')].id"
for group in "${groups[@]}"; do
  say "group $group will be deleted, with everything in it"
  mapfile -t found < <(ask_az resource list --resource-group "$group" --query "$others" --output tsv)
  ((${#found[@]} == 0)) || printf '  not of this installation: %s\n' "${found[@]}" >&2
  [[ ${#found[@]} -eq 0 || $strangers == yes ]] || fail "$group holds things of somebody else: move them, or add --with-strangers"
done
[[ $purge == no ]] || say "its Azure OpenAI accounts will be purged: nobody can bring them back"
confirm "$ENVIRONMENT" "This cannot be undone."

for group in "${groups[@]}"; do
  act_az group delete --name "$group" --yes
done
if [[ $purge == yes ]]; then
  for group in "${groups[@]}"; do
    act scripts/aoai-purge.sh --resource-group "$group" --yes ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"}
  done
fi
if [[ -n $(ask_az deployment sub list --query "[?name=='spillway-$ENVIRONMENT'].name" --output tsv) ]]; then
  act_az deployment sub delete --name "spillway-$ENVIRONMENT"
fi
say "done"
