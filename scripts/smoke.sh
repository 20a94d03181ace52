#!/usr/bin/env bash
# smoke.sh proves on a deployed installation that a backend can go away without anybody noticing: it calls, drains the first backend,
# calls again, and restores it, whatever happens. Needs curl, and az when the address is not given. It sends a few short requests.
#
# usage: scripts/smoke.sh --environment NAME [options]
#        scripts/smoke.sh --address URL --model NAME --backend NAME [options]
#
#   --environment NAME    read address, model and backend from the deployment spillway-NAME
#   --address URL         where callers come in, such as https://func-x.azurewebsites.net
#   --model NAME          model to ask for
#   --backend NAME        backend to drain
#   --operations URL      where /ops is reached, when not at the address: Front Door keeps it closed
#   --calls N             calls in each round, 5 when not given
#   --wait SECONDS        longest time for the app to become ready, 180 when not given
#   --subscription ID     az's default when not given
#   --dry-run             print the plan and change nothing
#
# SPILLWAY_KEY is a consumer's key (TEAM_A_KEY is taken when it is not set), SPILLWAY_OPERATOR_KEY the operators'.
# Keys travel as headers read from a file descriptor: they are in no argument list.
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh

ENVIRONMENT='' SUBSCRIPTION='' address='' model='' backend='' operations='' calls=5 wait=180
while (($#)); do
  case $1 in
  --environment) take ENVIRONMENT "$@" && shift ;;
  --address) take address "$@" && shift ;;
  --model) take model "$@" && shift ;;
  --backend) take backend "$@" && shift ;;
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
[[ -n $ENVIRONMENT || (-n $address && -n $model && -n $backend) ]] || wrong "give --environment, or --address, --model and --backend"
key=${SPILLWAY_KEY:-${TEAM_A_KEY:-}}
operator_key=${SPILLWAY_OPERATOR_KEY:-}

say "This will send $((2 * calls)) short requests, drain one backend between them, and restore it."
if [[ -n $ENVIRONMENT ]]; then
  need_az
  first="sort_by(properties.outputs.SPILLWAY_CONFIG.value.backends, &priority)[0]"
  show() { ask_az deployment sub show --name "spillway-$ENVIRONMENT" --query "$1" --output tsv; }
  address=${address:-$(output SPILLWAY_ADDRESS)}
  backend=${backend:-$(show "$first.name")}
  model=${model:-$(show "keys($first.deployments)[0]")}
fi
operations=${operations:-$address}
say "address $address, model $model, backend to drain $backend"
if [[ $DRY_RUN == yes ]]; then
  say "+ GET $address/health/ready until it is 200, at most $wait s"
  say "+ POST $address/openai/v1/chat/completions ($calls times)"
  say "+ POST $operations/ops/api/backends/$backend/drain"
  say "+ POST $address/openai/v1/chat/completions ($calls times)"
  say "+ POST $operations/ops/api/backends/$backend/restore"
  exit
fi
[[ -n $key ]] || fail "no consumer's key: export SPILLWAY_KEY"
[[ -n $operator_key ]] || fail "no operators' key: export SPILLWAY_OPERATOR_KEY"

# ask sends one request and prints the status, then the backend when the installation exposes it.
ask() {
  curl -sS -m 60 -o /dev/null -D - -H @<(printf 'api-key: %s\n' "$key") -H 'content-type: application/json' "$address/openai/v1/chat/completions" \
    -d "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"Say ok.\"}],\"max_completion_tokens\":16}" |
    tr -d '\r' | awk 'tolower($1) == "x-spillway-backend:" { served = $2 } /^HTTP\// { status = $2 } END { print status, served }'
}

# operate drains or restores the backend on all instances.
operate() {
  local status
  status=$(curl -sS -m 30 -o /dev/null -w '%{http_code}' -X POST -H @<(printf 'authorization: Bearer %s\n' "$operator_key") \
    "$operations/ops/api/backends/$backend/$1")
  [[ $status == 2* ]] || return 1
}

# round asks a few times and fails unless every answer is good; $1 names a backend that must not serve.
round() {
  local i status served seen=''
  for ((i = 0; i < calls; i++)); do
    read -r status served < <(ask)
    [[ $status == 200 ]] || fail "a caller got ${status:-no answer}"
    [[ -z $1 || $served != "$1" ]] || fail "$1 is drained and served a request"
    seen+="${served:-?} "
  done
  say "$calls answers, served by: $(tr ' ' '\n' <<<"$seen" | sed '/^$/d' | sort | uniq -c | awk '{ printf "%s%s x%s", sep, $2, $1; sep = ", " }')"
  [[ $seen != *'?'* ]] || say "who served is not shown: the setting SPILLWAY_EXPOSE=true adds it"
}

for ((i = 0; i <= wait; i++)); do
  [[ $(curl -sS -m 10 -o /dev/null -w '%{http_code}' "$address/health/ready" 2>/dev/null) == 200 ]] && break
  ((i < wait)) || fail "$address/health/ready is not 200 after $wait s: look at $address/health/ready and the log"
  sleep 1
done
round ''
say "draining $backend"
trap 'operate restore && say "restored $backend" || say "error: $backend is still drained: spillway backends restore $backend"' EXIT
operate drain || fail "draining was refused: is SPILLWAY_OPERATOR_KEY right, and is /ops open at $operations?"
# The promise is one refresh and one table round trip; two seconds are plenty.
sleep 2
round "$backend"
say "the installation serves without $backend"
