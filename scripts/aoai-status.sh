#!/usr/bin/env bash
# aoai-status.sh prints a table of Azure OpenAI accounts and their deployments with what became of them. It changes nothing. Needs az.
#
# usage: scripts/aoai-status.sh [options]
#
#   --resource-group NAME  only this group; the whole subscription when not given
#   --environment NAME     only accounts with the tag azd-env-name=NAME
#   --quota                also print the quota in use in each region seen
#   --deleted              also print deleted accounts that still hold their names and quota
#   --subscription ID      az's default when not given
#   --dry-run              accepted as everywhere; there is nothing to hold back
#
# The status is 3 when an account or deployment is not in the state Succeeded.
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' SUBSCRIPTION='' group='' quota=no deleted=no
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
  --resource-group) take group "$@" && shift ;;
  --subscription) take SUBSCRIPTION "$@" && shift ;;
  --quota) quota=yes ;;
  --deleted) deleted=yes ;;
  --dry-run) DRY_RUN=yes ;; # nothing is changed anyway
  --help | -h) usage && exit ;;
  *) wrong "unknown option $1" ;;
  esac
  shift
done

[[ -z $ENVIRONMENT ]] || need_environment

# table prints lines with tabs as columns.
table() { printf '%s\n' "$@" | column -t -s $'\t'; }

need_az
accounts=() deployments=() used=() gone=()
filter="kind=='OpenAI' || kind=='AIServices'"
[[ -z $ENVIRONMENT ]] || filter="($filter) && tags.\"azd-env-name\"=='$ENVIRONMENT'"
rows_of accounts "[?$filter].[resourceGroup, name, location, properties.provisioningState]" \
  cognitiveservices account list ${group:+--resource-group "$group"}

rows=$'GROUP\tACCOUNT\tREGION\tDEPLOYMENT\tMODEL\tVERSION\tSKU\tCAPACITY\tSTATE' regions='' status=0
for line in "${accounts[@]}"; do
  IFS=$'\t' read -r in_group account region state <<<"$line"
  [[ $state == Succeeded ]] || status=3
  regions+="$region"$'\n'
  rows_of deployments '[].[name, properties.model.name, properties.model.version, sku.name, sku.capacity, properties.provisioningState]' \
    cognitiveservices account deployment list --resource-group "$in_group" --name "$account"
  rows+=$'\n'"$in_group"$'\t'"$account"$'\t'"$region"$'\t-\t-\t-\t-\t-\t'"$state"
  for deployment in "${deployments[@]}"; do
    [[ ${deployment##*$'\t'} == Succeeded ]] || status=3
    rows+=$'\n'"$in_group"$'\t'"$account"$'\t'"$region"$'\t'"$deployment"
  done
done
table "$rows"

if [[ $quota == yes ]]; then
  lines_of regions sort -u <<<"$regions"
  for region in "${regions[@]}"; do
    [[ -n $region ]] || continue
    # shellcheck disable=SC2016 # the backquotes are JMESPath's
    rows_of used '[?currentValue > `0`].[name.value, currentValue, limit]' cognitiveservices usage list --location "$region"
    printf '\nquota in %s (used, limit):\n' "$region"
    table "${used[@]:-nothing is used}"
  done
fi
if [[ $deleted == yes ]]; then
  rows_of gone '[].[name, location, properties.deletionDate]' cognitiveservices account list-deleted
  printf '\ndeleted, holding name and quota until purged:\n'
  table "${gone[@]:-none}"
fi
exit $status
