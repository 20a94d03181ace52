# shellcheck shell=bash
# azure.sh is what the scripts that talk to Azure share: the plan, the dry run, the confirmation. Sourced after lib.sh.
# shellcheck disable=SC2034 # the flags belong to the scripts that source this
DRY_RUN=no
YES=no
# lib.sh has gone to the project's top folder; the names of files that the caller gives are seen from where the caller is.
CALLED_FROM=$OLDPWD

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

# need_az makes sure that az is there and signed in, and says what it is signed in to.
need_az() {
  have az || fail "az is not installed: https://aka.ms/azure-cli"
  local account
  account=$(az account show ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"} --query '[name, id]' --output tsv) ||
    fail "az is not signed in, or does not know the subscription: az login"
  say "subscription: ${account//$'\n'/ }"
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

# output reads one output of a deployment, an array one item per line; with --from-environment from the variable of that name,
# where azd puts it, arrays as JSON.
output() {
  if [[ ${FROM_ENVIRONMENT:-no} == yes ]]; then
    tr -d '[]" ' <<<"${!1:-}" | tr ',' '\n' | sed '/^$/d'
    return
  fi
  ask_az deployment sub show --name "spillway-$ENVIRONMENT" --query "properties.outputs.$1.value" --output tsv
}
