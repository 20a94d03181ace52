#!/usr/bin/env bash
# prove.sh shows the whole job on an installation of its own, and keeps a transcript: deploy, call, throttle a backend, see the calls spill
# over, see the shares, clean up. It fails at the first step that it did not see. docs/prove.md has what comes out.
# Needs curl; go for --local, and what deploy.sh needs otherwise.
#
# usage: scripts/prove.sh --local [options]
#        scripts/prove.sh --environment NAME --location REGION [options]
#        scripts/prove.sh --address URL [options]
#
#   --local               on this machine, with the simulated service, as `make run` does; nothing from Azure is needed
#   --environment NAME    deploys this installation and destroys it at the end. It must not be there yet
#   --location REGION     its region
#   --parameters FILE     a .bicepparam file, as deploy.sh takes it
#   --address URL         an installation that is there already; nothing is deployed or destroyed
#   --operations URL      where its /ops is reached, when not at the address
#   --model NAME          model to ask for; when not given, the first that two backends serve
#   --load N              at most so many calls to get a backend throttled in Azure, 800 when not given. Each asks for up to 2,048 tokens
#                         and gets a few: the service counts what was asked for
#   --keep                do not destroy the installation at the end
#   --transcript FILE     where the transcript goes; build/prove/DATE.txt when not given
#   --subscription ID     az's default when not given
#   --dry-run             print the plan and change nothing
#   --yes                 do not ask
#
# SPILLWAY_KEY and SPILLWAY_OPERATOR_KEY are read as by smoke.sh.
source "$(dirname "$0")/lib.sh"
source scripts/azure.sh
source scripts/gateway.sh

ENVIRONMENT='' LOCATION='' SUBSCRIPTION='' here=no address='' operations='' model='' parameters='' load=800 keep=no transcript=''
while (($#)); do
  case $1 in
  --local) here=yes ;;
  --environment) take ENVIRONMENT "$@" && shift ;;
  --location) take LOCATION "$@" && shift ;;
  --parameters) take parameters "$@" && parameters=$(file_of "$parameters") && shift ;;
  --address) take address "$@" && shift ;;
  --operations) take operations "$@" && shift ;;
  --model) take model "$@" && shift ;;
  --load) take load "$@" && shift ;;
  --keep) keep=yes ;;
  --transcript) take transcript "$@" && transcript=$(file_of "$transcript") && shift ;;
  --subscription) take SUBSCRIPTION "$@" && shift ;;
  --dry-run) DRY_RUN=yes ;;
  --yes) YES=yes ;;
  --help | -h) usage && exit ;;
  *) wrong "unknown option $1" ;;
  esac
  shift
done
case $here,${ENVIRONMENT:+environment},${address:+address} in
yes,, | no,environment, | no,,address) ;;
*) wrong "give one of --local, --environment and --address" ;;
esac
[[ -z $ENVIRONMENT ]] || need_environment
[[ -z $ENVIRONMENT || -n $LOCATION ]] || wrong "--location is missing"
[[ -z $LOCATION ]] || need_location
[[ $load =~ ^[1-9][0-9]{0,4}$ ]] || wrong "--load takes a number from 1 on"
for word in "$model" "$address" "$operations"; do
  [[ $word != *[!][A-Za-z0-9._:/@+-]* ]] || wrong "$word has a character that is in no name and no address"
done

key=${SPILLWAY_KEY:-} operator_key=${SPILLWAY_OPERATOR_KEY:-} me=prove.sh-$$-$EPOCHSECONDS throttled='' runner='' deployed=no
simulator=${SIMULATOR_PORT:-9100}

# title begins a step.
title() { printf '\n== %s\n' "$*"; }

# answers sends calls and fails unless each gets a 200; it leaves who served in seen and prints the shares: answers count tokens.
answers() {
  local i
  seen=()
  for ((i = 0; i < $1; i++)); do
    ask "$2"
    [[ $status == 200 ]] || fail "a caller got ${status:-no answer}"
    [[ $served != - ]] || fail "who served cannot be seen: the setting SPILLWAY_EXPOSE=true shows it"
    seen+=("$served")
  done
  printf '%s\n' "${seen[@]}" | sort | uniq -c | sort -rn | awk -v all="$1" '{ printf "  %-30s %3d of %d calls, %3d %%\n", $2, $1, all, 100 * $1 / all }'
}

# read_status reads the status of the installation and prints the sentence about the pool of the model.
read_status() {
  ops status >"$work/status" || fail "the operators' API stopped answering: $(<"$work/error")"
  printf '  %s\n' "$(tr '{' '\n' <"$work/status" | grep -F "\"model\":\"$model\"," | grep -o '"sentence":"[^"]*"' | cut -d'"' -f4 | head -n 1)"
}

deploy() {
  local -a options=(--environment "$ENVIRONMENT" --location "$LOCATION" --no-smoke --yes ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"})
  local -a there=()
  if [[ $here == yes ]]; then
    address=http://127.0.0.1:${PORT:-8080}
    ! curl -fs -o /dev/null "$address/health/live" || { say "  an installation runs at $address (make run?): it is used, and left running" && return; }
    PORT=${PORT:-8080} SIMULATOR_PORT=$simulator scripts/run.sh >"$work/run.log" 2>&1 &
    runner=$!
    # A first build takes what it takes; run.sh ends by itself when what it has started does not get ready.
    until curl -fs -o /dev/null "$address/health/ready"; do
      kill -0 "$runner" 2>/dev/null || fail "the local installation ended: $(tail -n 3 "$work/run.log")"
      sleep 0.1
    done
  elif [[ -n $ENVIRONMENT ]]; then
    need_az
    rows_of there '[].name' group list --tag "azd-env-name=$ENVIRONMENT"
    ((${#there[@]} == 0)) || fail "the installation $ENVIRONMENT is there already (${there[*]}), and would be destroyed at the end: use --address"
    deployed=yes
    scripts/deploy.sh "${options[@]}" ${parameters:+--parameters "$parameters"} || fail "it was not deployed"
    read_deployment
  fi
  while [[ $address == */ ]]; do address=${address%/}; done
  while [[ $operations == */ ]]; do operations=${operations%/}; done
  key=${key:-${TEAM_A_KEY:-}}
  wait_ready
  find_operations
  choose_model
  printf '  %s serves %s\n' "$address" "$model"
}

wait_ready() {
  local _
  for _ in {1..180}; do
    ! curl -fs -m 10 -o /dev/null "$address/health/ready" || return 0
    sleep 1
  done
  fail "$address/health/ready is not 200 after 180 s"
}

# one_of_many sends a call beside others, with files of its own.
one_of_many() {
  local all=$work work
  work=$(mktemp -d "$all/call.XXXX")
  ask 2048
  printf '%s\n' "${status:-none}" >>"$all/statuses"
}

# burst sends four calls at once and waits for all of them. It fails unless each was answered, or refused by a limit.
burst() {
  local pid _ other
  local -a pids=()
  : >"$work/statuses"
  for _ in {1..4}; do
    one_of_many &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || true; done
  other=$(sed -nE '/^(200|429)$/!p' "$work/statuses")
  [[ -z $other && $(wc -l <"$work/statuses") -eq 4 ]] || fail "a caller got ${other:-no answer} under load"
}

# find_throttled reads the status and leaves the first throttled backend of the model in throttled.
find_throttled() {
  ops status >"$work/status" || fail "the operators' API stopped answering: $(<"$work/error")"
  throttled=$(conditions_of "$model" | awk '$2 == "throttled" && !found++ { print $1 }')
}

# throttle_here has the simulated service throttle the backend that serves.
throttle_here() {
  local _
  throttled=${seen[0]}
  printf '  $ curl -X POST http://127.0.0.1:%s/_control/resources/%s/throttle?for=10s\n' "$simulator" "$throttled"
  curl -fsS -o /dev/null -X POST "http://127.0.0.1:$simulator/_control/resources/$throttled/throttle?for=10s" ||
    fail "the simulated service was not reached: SIMULATOR_PORT is its port"
  ask 16 # the first call that meets the throttle is served by another backend
  [[ $status == 200 && $served != "$throttled" ]] || fail "the call got ${status:-no answer} from ${served:--}"
  printf '  the call that met the 429 was answered with 200, by %s\n' "$served"
  for _ in {1..50}; do
    find_throttled
    [[ -z $throttled ]] || return 0
    sleep 0.2
  done
  fail "no backend of $model is seen to be throttled"
}

# throttle_by_load asks for more than a backend's quota, little at a time: the others are to have some left. Where all are at their limit
# at once, it waits until they accept requests again and tries once more.
throttle_by_load() {
  local i _ attempt
  for attempt in 1 2 3; do
    for ((i = 0; i < load; i += 4)); do
      burst
      find_throttled
      [[ -z $throttled ]] || break
    done
    [[ -n $throttled ]] || fail "no backend of $model was throttled by $load calls: deploy it with less capacity, or give --load"
    [[ -z $(stand_ins "$model" "$throttled") ]] || return 0
    say "  every backend of $model is at its limit: trying again when they accept requests ($attempt of 3)"
    for _ in {1..120}; do
      find_throttled
      [[ -n $throttled ]] || break
      sleep 1
    done
  done
  fail "every backend of $model was at its limit at once, three times: give one of them more capacity"
}

# throttle gets a backend throttled while another one is not.
throttle() {
  if [[ $here == yes ]]; then throttle_here; else throttle_by_load; fi
  printf '  %s is throttled\n' "$throttled"
}

# spill calls while the throttle lasts, five times at most, for as much as was refused: a throttled backend takes smaller calls.
spill() {
  local i size=2048
  [[ $here == no ]] || size=16
  for ((i = 0; i < 5; i++)); do
    ask "$size"
    if [[ $status == 429 && $i -gt 0 ]]; then
      say "  now every backend is at its limit"
      break
    fi
    [[ $status == 200 ]] || fail "a caller got ${status:-no answer}"
    if [[ $served == "$throttled" || $served == - ]]; then
      ops status >"$work/status" || fail "the operators' API stopped answering: $(<"$work/error")"
      [[ $served != - && $i -gt 0 && $(condition_of "$throttled" "$model") != throttled ]] || fail "$throttled is throttled, and ${served/#-/nobody that can be seen} served a call"
      say "  the throttle is over"
      break
    fi
    printf '  200, served by %s\n' "$served"
  done
}

back() {
  local _
  for _ in {1..120}; do
    ops status >"$work/status" || fail "the operators' API stopped answering: $(<"$work/error")"
    [[ $(condition_of "$throttled" "$model") == throttled ]] || break
    sleep 1
  done
  read_status
  [[ $(condition_of "$throttled" "$model") =~ ^(available|partial)$ ]] || fail "$throttled is $(condition_of "$throttled" "$model")"
  answers 20 16
  ops status | tr '{' '\n' | awk -v model="/$model\"" '/"slot":/ { split($0, part, "\""); name = part[4]; here = index($0, model) }
    here && /^"requests":/ && name != "" { match($0, /"served":[0-9]+/); printf "  %-30s served %s in the last minute\n", name, substr($0, RSTART + 9, RLENGTH - 9); name = "" }'
}

# clean_up removes what this run has made, whether it came to its end or not.
clean_up() {
  local outcome=$?
  trap - EXIT
  if [[ -n $runner ]]; then
    kill "$runner" 2>/dev/null || true
    wait "$runner" 2>/dev/null || true
    printf '  stopped\n'
  elif [[ $deployed == yes && $keep == yes ]]; then
    printf '  kept: scripts/destroy.sh --environment %s --purge\n' "$ENVIRONMENT"
  elif [[ $deployed == yes ]]; then
    printf '  if this is cut off: scripts/destroy.sh --environment %s --purge\n' "$ENVIRONMENT"
    scripts/destroy.sh --environment "$ENVIRONMENT" --purge --yes ${SUBSCRIPTION:+--subscription "$SUBSCRIPTION"} || outcome=1
  fi
  rm -rf "$work"
  ((outcome != 0)) || printf '\nproved: served, throttled, spilled over without an error, shared again\n'
  return "$outcome"
}

prove() {
  work=$(mktemp -d)
  trap 'clean_up; exit $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  title "1. Deploy"
  deploy
  title "2. Call"
  answers 3 16
  read_status
  title "3. Throttle the backend that serves"
  throttle
  read_status
  title "4. The calls spill over"
  spill
  title "5. The shares, after the throttle"
  back
  title "6. Clean up"
}

if [[ $DRY_RUN == yes ]]; then
  [[ -z $ENVIRONMENT ]] || say "+ scripts/deploy.sh --environment $ENVIRONMENT --location $LOCATION${parameters:+ --parameters $parameters} --no-smoke --yes"
  say "+ call; throttle a backend; call until its throttle is over"
  [[ -z $ENVIRONMENT || $keep == yes ]] || say "+ scripts/destroy.sh --environment $ENVIRONMENT --purge --yes"
  exit
fi
[[ -z $ENVIRONMENT ]] || confirm "$ENVIRONMENT" "$ENVIRONMENT is deployed, costs money while this runs, and is destroyed at the end."
transcript=${transcript:-build/prove/$(date -u +%Y%m%dT%H%M%SZ).txt}
mkdir -p "$(dirname "$transcript")"
# What ends the steps does not end their transcript: what cleans up writes into it, and could not without it.
(prove) 2>&1 | (
  trap '' INT HUP TERM PIPE
  exec tee "$transcript"
)
say "transcript: $transcript"
