# shellcheck shell=bash
# azure.sh is what the scripts that talk to Azure share: the plan, the dry run, the confirmation. Sourced after lib.sh.
# These scripts use what bash has since version 5; macOS comes with 3.2, which would stop somewhere in the middle.
((${BASH_VERSION%%.*} >= 5)) || fail "bash 5 or newer is needed, this is $BASH_VERSION; on macOS: brew install bash"
# shellcheck disable=SC2034 # the flags belong to the scripts that source this
DRY_RUN=no
YES=no
# lib.sh has gone to the project's top folder; the names of files that the caller gives are seen from where the caller is.
CALLED_FROM=$OLDPWD
# What somebody has made az's default (az config) is neither the form of an answer that is read here, nor the group of a list of all.
export AZURE_CORE_OUTPUT=json AZURE_DEFAULTS_GROUP='' AZURE_DEFAULTS_LOCATION=''

# usage prints the comment at the top of the calling script, from its second line to the first line that is no comment.
usage() { sed -n '2,/^[^#]/ { s/^# \{0,1\}//p; }' "scripts/$(basename "$0")"; }

# wrong ends the script as wrong usage does everywhere in this project: status 2.
wrong() {
  say "error: $* (--help tells more)"
  exit 2
}

# take puts the argument of an option into a variable, or ends the script when there is none: take variable "$@", with the option first.
# It ends the script itself, which a $(subshell) could not: nothing may be changed under half of what was asked.
take() {
  [[ $# -ge 3 && -n $3 && $3 != --* ]] || wrong "$2 needs a value"
  printf -v "$1" '%s' "$3"
}

# file_of gives the name of a file as seen from the project's top folder.
file_of() { [[ $1 == /* ]] && printf '%s\n' "$1" || printf '%s/%s\n' "$CALLED_FROM" "$1"; }

# act runs a command that changes something, and says so first. A dry run only says so.
act() {
  printf '+ %s\n' "$(printf '%q ' "$@" | sed 's/ $//')" >&2
  [[ $DRY_RUN == yes ]] || "$@"
}

# need_az makes sure that az is there and signed in, and says what it is signed in to. az itself says how to sign in.
need_az() {
  have az || fail "az is not installed: https://aka.ms/azure-cli"
  local -a account
  rows_of account '[name, id]' account show
  say "subscription: ${account[*]}"
}

# ask_az runs az to read something, in the chosen subscription or in az's own default.
ask_az() { az "$@" ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"}; }

# act_az runs az to change something.
act_az() { act az "$@" ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"} --output none; }

# confirm goes on only when the word is typed. --yes has typed it already; a dry run needs none.
confirm() {
  local typed
  [[ $YES == yes || $DRY_RUN == yes ]] && return
  [[ -t 0 || ${CONFIRM_FROM_PIPE:-} == yes ]] || fail "nobody is there to confirm: add --yes"
  read -r -p "$2 Type $1 to go on: " typed
  [[ $typed == "$1" ]] || fail "nothing was changed"
}

# need_environment ends the script unless ENVIRONMENT is a name that is safe in queries, file names and names of resources.
need_environment() { [[ $ENVIRONMENT =~ ^[A-Za-z0-9-]{1,32}$ ]] || wrong "--environment takes 1 to 32 letters, digits and hyphens"; }

# need_location ends the script unless LOCATION is a name as templates compare it, and not what the portal shows: Sweden Central.
need_location() { [[ $LOCATION =~ ^[a-z0-9]+$ ]] || wrong "--location takes the name of a region, such as swedencentral: az account list-locations --query '[].name'"; }

# said names a command as it can be typed.
said() { printf '%s' "${*/#ask_az/az}"; }

# lines_of fills an array with the lines that a command prints: lines_of array command ... It ends the script when the command fails,
# which <(command) does not: an empty list and a list that could not be read would be the same.
lines_of() {
  local -n _lines=$1
  local _text
  _text=$("${@:2}") || fail "this could not be read: $(said "${@:2}")"
  _text=${_text//$'\r'/} # az of Windows, called by a bash there
  _lines=()
  [[ -z $_text ]] || mapfile -t _lines <<<"$_text"
}

# text_of puts the one word that a command prints into a variable, and ends the script when the command fails or prints anything else.
text_of() {
  local _text
  _text=$("${@:2}") || fail "this could not be read: $(said "${@:2}")"
  _text=${_text//$'\r'/} # az of Windows, called by a bash there
  [[ $_text =~ ^[^[:space:]\<]+$ ]] || fail "this gave no answer that can be used: $(said "${@:2}"): ${_text:0:100}"
  printf -v "$1" '%s' "$_text"
}

# rows_of fills an array with what a query finds in an answer of az, one item or row a line: rows_of array query command ... For an empty
# list az prints nothing: so that an answer that did not come, was cut off or is a page of a proxy is not one, a last line is asked for.
rows_of() {
  local -n _rows=$1
  lines_of "$1" ask_az "${@:3}" --query "[($2) || \`[]\`, ['end of list']][]" --output tsv
  [[ ${#_rows[@]} -gt 0 && ${_rows[-1]} == 'end of list' ]] || fail "this did not give a whole answer: az ${*:3}: ${_rows[*]:0:3}"
  _rows=("${_rows[@]:0:${#_rows[@]}-1}")
}

# group_in prints the group that an id names, and fails when it names none. Azure writes /resourceGroups/ in more than one case.
group_in() {
  local before=${1,,}
  before=${before%%/resourcegroups/*}
  local group=${1:${#before}+16}
  [[ ${#before} -lt ${#1} && -n ${group%%/*} ]] && printf '%s\n' "${group%%/*}"
}

# purge_accounts purges deleted accounts, lines of region, group and name.
purge_accounts() {
  local line region was_in name
  for line in "$@"; do
    IFS=$'\t' read -r region was_in name <<<"$line"
    act_az cognitiveservices account purge --location "$region" --resource-group "$was_in" --name "$name"
  done
}

# need_purged ends the script when one of these accounts is still listed as deleted.
need_purged() {
  local line id in_group was_in name
  local -a left
  [[ $DRY_RUN == no && $# -gt 0 ]] || return 0
  rows_of left '[].id' cognitiveservices account list-deleted
  for line in "$@"; do
    IFS=$'\t' read -r _ was_in name <<<"$line"
    for id in "${left[@]}"; do
      [[ ${id,,} == *"/${name,,}" ]] || continue
      in_group=$(group_in "$id") || fail "the deleted account $name has an id that names no group: $id"
      [[ ${in_group,,} != "${was_in,,}" ]] ||
        fail "the account $name is still listed as deleted, although az reported that it was purged"
    done
  done
}

# deployment_rows reads the deployment of the installation: deployment_rows array query.
deployment_rows() { rows_of "$1" "$2" deployment sub show --name "spillway-$ENVIRONMENT"; }

# The outputs that the scripts read, as the members of the output `spillway` are called, with the outputs of their own that have the
# same value. Subscription deployments may give AZURE_RESOURCE_GROUP back as azurE_RESOURCE_GROUP (Azure/bicep#9360): names of outputs
# are compared without regard to case, and the object is preferred, because the names inside it come back as they were given.
declare -A OUTPUT_NAMES=(
  [address]=SPILLWAY_ADDRESS [config]=SPILLWAY_CONFIG [frontDoorId]=AZURE_FRONT_DOOR_ID [functionApps]=AZURE_FUNCTION_APP_NAMES
  [packageContainers]=AZURE_PACKAGE_CONTAINERS [plan]=AZURE_FUNCTION_APP_PLAN [resourceGroups]=AZURE_RESOURCE_GROUPS
)
declare -A OUTPUT_PATHS=() # where the deployment has each of them, as a query

# read_outputs finds the outputs of the deployment.
read_outputs() {
  local name member members=' '
  local -a names found
  # shellcheck disable=SC2016 # the backquotes are JMESPath's
  deployment_rows names 'keys(properties.outputs || `{}`)'
  for name in "${names[@]}"; do
    if [[ ${name,,} == spillway ]]; then
      deployment_rows found "keys(properties.outputs.\"$name\".value)"
      members=" ${found[*]} "
    fi
    for member in "${!OUTPUT_NAMES[@]}"; do
      [[ ${name,,} != "${OUTPUT_NAMES[$member],,}" ]] || OUTPUT_PATHS[$member]="properties.outputs.\"$name\".value"
    done
  done
  for name in "${names[@]}"; do
    [[ ${name,,} == spillway ]] || continue
    for member in "${!OUTPUT_NAMES[@]}"; do
      [[ $members != *" $member "* ]] || OUTPUT_PATHS[$member]="properties.outputs.\"$name\".value.$member"
    done
  done
}

# output_path gives the place of an output as a query.
output_path() {
  [[ -n ${OUTPUT_PATHS[$1]:-} ]] || fail "the deployment spillway-$ENVIRONMENT does not give ${OUTPUT_NAMES[$1]}: it was not finished, or not made by infra/bicep"
  printf '%s\n' "${OUTPUT_PATHS[$1]}"
}

# output_of fills an array with one output, an array one item per line: output_of array member. With --from-environment it comes from
# the variable of its name, where azd puts it, arrays as JSON.
output_of() {
  local _name=${OUTPUT_NAMES[$2]} _path
  if [[ ${FROM_ENVIRONMENT:-no} == yes ]]; then
    lines_of "$1" list_of_json "${!_name:-}"
    return
  fi
  _path=$(output_path "$2") || exit 1
  deployment_rows "$1" "$_path"
}

# list_of_json prints the items of a JSON array of plain names, or a plain name, one per line.
list_of_json() { tr -d '[]" ' <<<"$1" | tr ',' '\n' | sed '/^$/d'; }
