# shellcheck shell=bash
# gateway.sh is what the scripts share that call a running installation. Sourced after azure.sh by a script that sets address, operations,
# key, operator_key (keys may be empty where nobody asks for one), model, me (the operator's name) and work, a folder of its own.
# shellcheck disable=SC2154 # the variables belong to the scripts that source this

origins=() # where /ops may be, besides the address

# read_deployment takes from the deployment what was not given: the address, the variable that has a consumer's key, and where /ops
# may be reached when Front Door closes it.
read_deployment() {
  local i name path
  local -a found=() groups=() apps=() door=()
  need_az
  read_outputs
  if [[ -z $address ]]; then
    output_of found address
    address=${found[0]:-}
    [[ -n $address ]] || fail "the deployment spillway-$ENVIRONMENT gives no address"
  fi
  if [[ -z $key ]]; then
    path=$(output_path config) || exit 1
    deployment_rows found "$path.consumers[?keySetting].keySetting"
    for name in "${found[@]}"; do
      [[ -n $key || ! $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || key=${!name:-}
    done
  fi
  [[ -z $operations ]] || return 0
  output_of door frontDoorId
  ((${#door[@]} > 0)) || return 0
  output_of groups resourceGroups
  output_of apps functionApps
  for i in "${!apps[@]}"; do
    text_of name ask_az functionapp show --resource-group "${groups[i]}" --name "${apps[i]}" --query defaultHostName --output tsv
    origins+=("https://$name")
  done
}

# ops asks the operators' API: ops path [option of curl ...]. It prints the answer and fails when the status is not 200.
ops() {
  curl -fsS -m 30 -H @<(printf '%s\n' "${operator_key:+authorization: Bearer $operator_key}") -H "x-spillway-operator: $me" "${@:2}" "$operations/ops/api/$1" 2>"$work/error"
}

# find_operations finds where the operators' API answers.
find_operations() {
  local candidate
  local -a tried=("$operations")
  [[ -n $operations ]] || tried=("$address" "${origins[@]}")
  for candidate in "${tried[@]}"; do
    operations=$candidate
    ! ops status >"$work/status" || return 0
  done
  fail "the operators' API was refused at ${tried[*]} ($(<"$work/error")): is SPILLWAY_OPERATOR_KEY right? Is /ops open to this machine (allowedIpRanges, exposeOperations, --operations)?"
}

# conditions prints "backend/model condition" for every backend of every model.
conditions() { tr '{' '\n' <"$work/status" | sed -n 's/.*"slot":"\([^"]*\)".*"condition":"\([^"]*\)".*/\1 \2/p'; }

# conditions_of prints "backend condition" for every backend of one model. The names of backends have no slash, those of models may.
conditions_of() { conditions | awk -v model="$1" '{ at = index($1, "/") } substr($1, at + 1) == model { print substr($1, 1, at - 1), $2 }'; }

# condition_of prints the condition of one backend of a model: condition_of backend model.
condition_of() { conditions_of "$2" | awk -v backend="$1" '$1 == backend { print $2 }'; }

# stand_ins prints the backends of a model that accept requests, but for one.
stand_ins() { conditions_of "$1" | awk -v but="$2" '$2 == "available" && $1 != but { print $1 }'; }

# version_running prints the version of the instance whose status was read.
version_running() {
  local first='"version":"([^"]*)"'
  [[ $(<"$work/status") =~ $first ]] && printf '%s\n' "${BASH_REMATCH[1]}"
}

# choose_model takes the first model of the key that answers chats, by its name, and has two backends that accept requests.
choose_model() {
  local name
  local -a names
  [[ -z $model ]] || return 0
  curl -fsS -m 30 -H @<(printf 'api-key: %s\n' "$key") "$address/openai/v1/models" >"$work/models" || fail "the key was refused at $address/openai/v1/models"
  mapfile -t names < <(tr ',{' '\n' <"$work/models" | sed -n 's/^ *"id": *"\([^"]*\)".*/\1/p')
  for name in "${names[@]}"; do
    [[ $name =~ ^[A-Za-z0-9._:/@+-]+$ && ! $name =~ embedding|whisper|tts|dall|image|audio|realtime|transcribe|sora ]] || continue
    (($(stand_ins "$name" '' | wc -l) < 2)) || { model=$name && return 0; }
  done
  fail "no chat model of this key has two backends that accept requests: nothing can fail over; --model names one"
}

# ask sends one request for at most so many tokens, and leaves its status and the backend that served in those variables. Where answers
# do not name the backend (SPILLWAY_EXPOSE), the operators' API knows it; it is asked more than once, because another instance may answer.
ask() {
  local id _
  status='' served=''
  curl -sS -m 60 -o /dev/null -D "$work/head" -H @<(printf '%s\n' "${key:+api-key: $key}") -H 'content-type: application/json' "$address/openai/v1/chat/completions" \
    -d "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"Say ok.\"}],\"max_completion_tokens\":$1}" || return 0
  read -r status served id < <(tr -d '\r' <"$work/head" | awk '/^HTTP\// { status = $2; served = id = "-" }
    tolower($1) == "x-spillway-backend:" { served = $2 } tolower($1) == "x-request-id:" { id = $2 } END { print status, served, id }')
  for _ in {1..10}; do
    [[ $served == - && $status == 200 && $id =~ ^[A-Za-z0-9_-]{2,}$ ]] || return 0
    served=$(ops "requests?id=$id" | sed -n 's/.*"backend":"\([^"]*\)","totalMs".*/\1/p') || true
    [[ -n $served ]] || served=-
  done
}
