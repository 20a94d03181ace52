#!/usr/bin/env bash
# smoke.sh proves on a running installation that a backend can go away without anybody noticing: it calls, drains the backend that served,
# calls again, and restores it, whatever happens. It passes only after it saw that backend serve, then not serve, and another one serve.
# It drains one model of one backend, and nothing that an operator has drained. Needs curl, and az when the address is not given.
# It sends a few short requests.
#
# usage: scripts/smoke.sh --environment NAME [options]
#        scripts/smoke.sh --address URL [options]
#
#   --environment NAME    read the address from the deployment spillway-NAME
#   --address URL         where callers come in, such as https://func-x.azurewebsites.net
#   --model NAME          model to ask for; when not given, the first that the key may use and that two backends serve
#   --backend NAME        backend to drain; when not given, the one that served most calls of the first round
#   --version VERSION     what `spillway version` prints of the package that has to answer; when not given, any version is proved
#   --operations URL      where /ops is reached, when not at the address: Front Door keeps it closed
#   --calls N             calls in each round, 5 when not given
#   --wait SECONDS        longest time for the app to become ready, and for the version to answer, 180 when not given
#   --subscription ID     az's default when not given
#   --dry-run             print the plan and change nothing
#
# SPILLWAY_KEY is a consumer's key, SPILLWAY_OPERATOR_KEY the operators'. Without SPILLWAY_KEY, the variable that the deployment's
# consumers name is taken (keySetting), or TEAM_A_KEY. Keys travel as headers read from a file descriptor: they are in no argument list.
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh
source scripts/gateway.sh

ENVIRONMENT='' SUBSCRIPTION='' address='' model='' backend='' operations='' version='' calls=5 wait=180
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
  --address) take address "$@" && shift ;;
  --model) take model "$@" && shift ;;
  --backend) take backend "$@" && shift ;;
  --version) take version "$@" && shift ;;
  --operations) take operations "$@" && shift ;;
  --calls) take calls "$@" && shift ;;
  --wait) take wait "$@" && shift ;;
  --subscription) take SUBSCRIPTION "$@" && shift ;;
  --dry-run) DRY_RUN=yes ;;
  --help | -h) usage && exit ;;
  *) wrong "unknown option $1" ;;
  esac
  shift
done
[[ -n $ENVIRONMENT || -n $address ]] || wrong "give --environment, or --address"
[[ -z $ENVIRONMENT ]] || need_environment
[[ $calls =~ ^[1-9][0-9]{0,3}$ ]] || wrong "--calls takes a number from 1 on"
[[ $wait =~ ^(0|[1-9][0-9]{0,4})$ ]] || wrong "--wait takes a number of seconds"
for word in "$model" "$backend" "$address" "$operations"; do
  [[ $word != *[!][A-Za-z0-9._:/@+-]* ]] || wrong "$word has a character that is in no name and no address"
done
key=${SPILLWAY_KEY:-} operator_key=${SPILLWAY_OPERATOR_KEY:-}

say "This will send about $((2 * calls)) short requests, drain one backend for one model between them, and restore it."
[[ -z $ENVIRONMENT ]] || read_deployment
key=${key:-${TEAM_A_KEY:-}}
while [[ $address == */ ]]; do address=${address%/}; done
while [[ $operations == */ ]]; do operations=${operations%/}; done
say "address $address, model ${model:-(chosen from those of the key)}, backend to drain ${backend:-(the one that serves)}"
if [[ $DRY_RUN == yes ]]; then
  say "+ GET $address/health/ready until it is 200, at most $wait s"
  say "+ POST $address/openai/v1/chat/completions ($calls times)"
  say "+ POST ${operations:-$address}/ops/api/backends/${backend:-BACKEND}/${model:-MODEL}/drain"
  say "+ POST $address/openai/v1/chat/completions ($calls times)"
  say "+ POST ${operations:-$address}/ops/api/backends/${backend:-BACKEND}/${model:-MODEL}/restore"
  exit
fi
[[ -n $key ]] || fail "no consumer's key: export SPILLWAY_KEY"
[[ -n $operator_key ]] || fail "no operators' key: export SPILLWAY_OPERATOR_KEY"
me=smoke.sh-$$-$EPOCHSECONDS outcome=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# round asks a few times and fails unless every answer is good and it is seen who gave it: round longest until-this-one-served not-this-one.
round() {
  local i
  seen=()
  for ((i = 0; i < $1; i++)); do
    ask 16
    [[ $status == 200 ]] || fail "a caller got ${status:-no answer}"
    [[ $served != - ]] || fail "who served cannot be seen: the setting SPILLWAY_EXPOSE=true shows it"
    [[ -z $3 || $served != "$3" ]] || fail "$3 is drained and served a request"
    seen+=("$served")
    ((i + 1 < calls)) || [[ -n $2 && " ${seen[*]} " != *" $2 "* ]] || break
  done
  say "${#seen[@]} answers, served by: $(printf '%s\n' "${seen[@]}" | sort | uniq -c | sort -rn | awk '{ printf "%s%s x%s", sep, $2, $1; sep = ", " }')"
}

# drained_by prints who drained the slot, as far as the shared state was read.
drained_by() {
  tr '{' '\n' <"$work/status" | awk -v slot="\"slot\":\"$slot\"" '/"slot":/ { here = index($0, slot) }
    drain && match($0, /^"by":"[^"]*"/) { print substr($0, 7, RLENGTH - 7) } { drain = here && /"drained":$/ }'
}

# restore ends the drain that this run ordered, unless an operator has drained the slot since.
restore() {
  local _ by=''
  [[ $drained != no ]] || return 0
  drained=no
  ! ops status >"$work/status" || by=$(drained_by)
  if [[ -n $by && $by != "$me" ]]; then
    say "$slot has been drained by $by meanwhile: it is left so"
    return 0
  fi
  for _ in 1 2 3; do
    if ops "backends/$slot/restore" -X POST >/dev/null; then
      say "restored $slot" || true
      return 0
    fi
    sleep 1
  done
  say "error: $slot is still drained ($(<"$work/error")): spillway backends restore $slot"
  return 1
}

# need_version waits until the version answers three times in a row: with several instances, one may still run the package of before.
need_version() {
  local i running='' same=0
  [[ -n $version ]] || return 0
  for ((i = 0; i <= wait; i++)); do
    while running=$(version_running) && [[ $running == "$version" ]]; do
      ((++same < 3)) || return 0
      ops status >"$work/status" || break
    done
    same=0
    sleep 1
    ops status >"$work/status" || true
  done
  fail "the version ${running:-(unknown)} answers after $wait s, not $version: was that package published, and did the app start it?"
}

for ((i = 0; i <= wait; i++)); do
  [[ $(curl -sS -m 10 -o /dev/null -w '%{http_code}' "$address/health/ready" 2>/dev/null) == 200 ]] && break
  ((i < wait)) || fail "$address/health/ready is not 200 after $wait s: look at $address/health/ready and the log"
  sleep 1
done
find_operations
need_version
choose_model
if [[ -n $backend ]]; then
  round $((4 * calls)) "$backend" ''
  [[ " ${seen[*]} " == *" $backend "* ]] || fail "$backend served none of ${#seen[@]} calls, so its drain would prove nothing; it is $(condition_of "$backend" "$model"). Nothing was drained"
else
  round "$calls" '' ''
  backend=$(printf '%s\n' "${seen[@]}" | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
fi
slot=$backend/$model drained=no
ops status >"$work/status" || fail "the operators' API stopped answering: $(<"$work/error")"
condition=$(condition_of "$backend" "$model")
[[ -n $condition ]] || fail "/ops knows no $slot: is $model an alias? --model takes the model's own name"
[[ $condition != drained ]] || fail "$slot was drained by somebody else: it is left as it is"
[[ -n $(stand_ins "$model" "$backend") ]] || fail "no other backend of $model accepts requests: draining $slot would refuse its callers. Nothing was drained"
say "draining $slot"
# The traps come first: between a drain and its trap, Ctrl-C would leave the backend drained. Nothing cuts the restore off: a second
# Ctrl-C does not, nor a terminal that is gone or a reader that has read enough.
trap 'outcome=$?; trap "" INT TERM HUP PIPE; restore || outcome=1; rm -rf "$work"; exit $outcome' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
drained=perhaps
ops "backends/$slot/drain" -X POST >/dev/null || {
  [[ $(<"$work/error") != *' error: 4'* ]] || drained=no
  fail "draining was refused: $(<"$work/error")"
}
# The promise is one refresh and one table round trip; two seconds are plenty.
sleep 2
round "$calls" '' "$backend"
restore || fail "the proof is not complete"
say "the installation serves $model without $backend, as version $(version_running)"
