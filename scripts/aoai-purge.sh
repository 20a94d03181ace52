#!/usr/bin/env bash
# aoai-purge.sh purges deleted Azure OpenAI accounts, which frees their names and quota at once and for good.
# It takes only what a scope names, never the whole subscription, and asks before it starts. Needs az.
#
# usage: scripts/aoai-purge.sh SCOPE [options]
#
# SCOPE is at least one of these; an account has to match all that are given, letter for letter:
#   --environment NAME     accounts that had the tag azd-env-name=NAME and a name as Spillway gives it, aoai-KEY-TOKEN; others that had
#                          the tag are listed, and taken by --account
#   --resource-group NAME  accounts that were in this group
#   --account NAME         the account of this name
#
#   --location REGION      narrows the scope to one region; no scope by itself
#   --subscription ID      az's default when not given
#   --dry-run              print what would be purged and change nothing
#   --yes                  do not ask
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' LOCATION='' SUBSCRIPTION='' group='' account=''
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
  --resource-group) take group "$@" && shift ;;
  --account) take account "$@" && shift ;;
  --location) take LOCATION "$@" && shift ;;
  --subscription) take SUBSCRIPTION "$@" && shift ;;
  --dry-run) DRY_RUN=yes ;;
  --yes) YES=yes ;;
  --help | -h) usage && exit ;;
  *) wrong "unknown option $1" ;;
  esac
  shift
done
[[ -n $ENVIRONMENT$group$account ]] || wrong "no scope: give --environment, --resource-group or --account"
for word in "$ENVIRONMENT" "$group" "$account" "$LOCATION"; do
  [[ $word != *[*?]* ]] || wrong "$word: a scope has no wildcards"
done
[[ -z $ENVIRONMENT ]] || need_environment
[[ -z $LOCATION ]] || need_location

need_az
# The list is filtered here and not by a query, so that an empty scope can never become an empty filter.
deleted=()
# shellcheck disable=SC2016 # the backquotes are JMESPath's
rows_of deleted '[].[name, location, id, properties.deletionDate, tags."azd-env-name" || `"_"`]' cognitiveservices account list-deleted
chosen=()
for line in "${deleted[@]}"; do
  IFS=$'\t' read -r name region id date tag <<<"$line"
  [[ -z $account || $account == "$name" ]] || continue
  [[ -z $ENVIRONMENT || $ENVIRONMENT == "$tag" ]] || continue
  [[ -z $LOCATION || $LOCATION == "$region" ]] || continue
  was_in=$(group_in "$id") || fail "the deleted account $name has an id that names no group: $id"
  [[ -z $group || ${group,,} == "${was_in,,}" ]] || continue
  # A policy hands down tags, and every project of azd has this one.
  if [[ -n $ENVIRONMENT && -z $account && ! $name =~ ^aoai-[A-Za-z0-9-]+-[a-z0-9]{13}$ ]]; then
    say "left alone: $name in $region, was in $was_in, has the tag, but no name of Spillway's"
    continue
  fi
  say "to be purged: $name in $region, was in $was_in, deleted $date"
  chosen+=("$region"$'\t'"$was_in"$'\t'"$name")
done
((${#chosen[@]} > 0)) || { say "no deleted account is in this scope" && exit; }
confirm "${#chosen[@]}" "${#chosen[@]} of ${#deleted[@]} deleted accounts will be gone for good."
purge_accounts "${chosen[@]}"
need_purged "${chosen[@]}"
say "done"
