#!/usr/bin/env bash
# Registers this service's hook with Aruna; lists, extends and deletes hooks. See --help.
set -euo pipefail
export LC_ALL=C TZ=UTC

usage() {
  cat <<'END'
Usage: register_webhook.sh create [OPTION]...
       register_webhook.sh list [--project ID]... [OPTION]...
       register_webhook.sh add-project HOOK_ID PROJECT_ID... [OPTION]...
       register_webhook.sh delete HOOK_ID... [OPTION]...

create       registers the hook. If you have one of this name, URL and trigger, it is given the
             projects it lacks, and no second one is made.
list         shows your hooks, or with --project all hooks of those projects.
add-project  adds projects to a hook of yours, each once.
delete       deletes hooks.

Option                     Variable          Default   Meaning
--aruna-url URL            ARUNA_API_URL               Aruna's REST gateway, https://host[/prefix]
--aruna-token-file FILE    ARUNA_TOKEN_FILE            file with your personal Aruna API token,
                           ARUNA_TOKEN                 or the token itself
--url URL                  WEBHOOK_URL                 this service, https://host/webhook
--webhook-token-file FILE  WEBHOOK_TOKEN_FILE          file with the service's WEBHOOK_TOKEN, or the
                           WEBHOOK_TOKEN               token itself; of two the first is registered
--project ID               PROJECT_IDS                 a project, again for more (variable: commas,
                                                       for create alone)
--name NAME                HOOK_NAME         ABCD to Bioschemas
--trigger WHICH            HOOK_TRIGGER      finished  finished: an upload with the label completes;
                                                       label: a label is added to a finished upload;
                                                       static-label: the same for a static label;
                                                       both: finished and label, a hook for each
--label KEY[=VALUE]        HOOK_LABEL        ABCD      the label that starts the service, with any
                                                       value if none is given; again for others
                                                       (variable: commas); taken literally
--object-name REGEX        HOOK_OBJECT_NAME            files whose name the expression matches, with
                                                       or without a label; without --label beside it
                                                       no label counts
--expires WHEN             HOOK_EXPIRES      1y        12h, 90d, 4w, 1y from now, or 2027-01-31, or
                                                       2027-01-31T12:00:00Z (UTC if no zone is given)
--method METHOD            HOOK_METHOD       POST      POST or PUT
--env-file FILE                              ./.env    NAME=VALUE lines for the variables above, if
                                                       the file is there; it is read, never executed
--dry-run                                              prints the JSON (token masked), sends nothing
--help

An option beats the environment, and that beats the file. A secret is never an argument, neither
here nor of a program started here: other users of the machine can read those.
ALLOW_INSECURE=true permits http:// URLs, for development.

Needed rights on a project: create APPEND (ADMIN to see other people's hooks there), the other
commands ADMIN. Needs bash 4.4, curl and any awk; jq is not needed.

Exit status
  0  success, also if there was nothing to do
  1  Aruna refused; its message is shown
  2  wrong usage or a wrong setting; nothing was sent
  3  Aruna cannot be reached, or something else answers
  4  a hook of this name, URL and trigger exists, but differs or has expired: delete it first
END
}

fail() { # STATUS MESSAGE
  printf 'register_webhook.sh: %s\n' "$2" >&2
  exit "$1"
}

NEVER_FIRES='--label needs a key: a hook without a filter never fires'

note() { printf '%s\n' "$1" >&2; }

warn() { note "Warning: $1"; }

# ---------------------------------------------------------------- settings

read_env_file() { # FILE: a secret and the file it is in are one setting
  local line name value file given=' '
  for name in ARUNA_TOKEN WEBHOOK_TOKEN; do
    file=${name}_FILE
    [[ -z ${!name+set}${!file+set} ]] || given+="$name $file "
  done
  while IFS= read -r line || [[ -n $line ]]; do
    line=${line%$'\r'}
    [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Z_]+)=(.*)$ ]] || continue
    name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
    [[ $name =~ ^(ALLOW_INSECURE|ARUNA_.+|HOOK_.+|PROJECT_IDS|WEBHOOK_.+)$ ]] || continue
    [[ -z ${!name+set} && $given != *" $name "* ]] || continue
    if [[ $value =~ ^\"([^\"]*)\"[[:space:]]*(#.*)?$ || $value =~ ^\'([^\']*)\'[[:space:]]*(#.*)?$ ]]; then
      value=${BASH_REMATCH[1]}
    else
      value=${value%%[[:space:]]#*}
      value=${value%"${value##*[![:space:]]}"}
    fi
    printf -v "$name" '%s' "$value"
  done <"$1"
}

need_value() { (($# > 1)) || fail 2 "$1 needs a value"; }

read_arguments() {
  while (($#)); do
    case $1 in
      --help | -h) usage && exit 0 ;;
      --dry-run) DRY_RUN=1 && shift && continue ;;
      -*) need_value "$@" ;;
      *) OPERANDS+=("$1") && shift && continue ;;
    esac
    # shellcheck disable=SC2034  # read_secret finds the _FILE variables by name
    case $1 in
      --aruna-url) ARUNA_API_URL=$2 ;;
      --aruna-token-file) ARUNA_TOKEN_FILE=$2 && unset ARUNA_TOKEN ;;
      --url) WEBHOOK_URL=$2 ;;
      --webhook-token-file) WEBHOOK_TOKEN_FILE=$2 && unset WEBHOOK_TOKEN ;;
      --project) PROJECTS+=("$2") ;;
      --name) HOOK_NAME=$2 ;;
      --trigger) HOOK_TRIGGER=$2 ;;
      --label) LABELS+=("$2") ;;
      --object-name) HOOK_OBJECT_NAME=$2 ;;
      --expires) HOOK_EXPIRES=$2 ;;
      --method) HOOK_METHOD=$2 ;;
      --env-file) ENV_FILE=$2 ;;
      *) fail 2 "unknown option $1; see --help" ;;
    esac
    shift 2
  done
}

read_secret() { # NAME: takes it from NAME_FILE if that is set
  local file=${1}_FILE
  [[ -n ${!file-} ]] || return 0
  [[ -z ${!1-} ]] || fail 2 "$1 and $file are both set; give one"
  [[ -r ${!file} ]] || fail 2 "$file: cannot read ${!file}"
  printf -v "$1" '%s' "$(<"${!file}")"
}

need_url() { # NAME VALUE
  [[ $2 =~ ^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[^[:space:][:cntrl:]\"\\]*)?$ ||
    $2 =~ ^https?://\[[0-9A-Fa-f:.]+\](:[0-9]+)?(/[^[:space:][:cntrl:]\"\\]*)?$ ]] ||
    fail 2 "$1 must be an absolute URL such as https://example.org/path, not \"$2\""
  [[ $2 == https://* || ${ALLOW_INSECURE-} =~ ^([Tt]rue|TRUE|1|[Yy]es|YES)$ ]] ||
    fail 2 "$1 must begin with https://, or tokens would travel unencrypted (development: ALLOW_INSECURE=true)"
}

need_ids() { # WHAT ID...
  local id
  for id in "${@:2}"; do
    [[ $id =~ ^[0-7][0-9A-HJKMNP-TV-Z]{25}$ ]] ||
      fail 2 "$1 \"$id\" is not an Aruna id: 26 characters such as 01ARZ3NDEKTSV4RRFFQ69G5FAV"
  done
}

need_aruna() {
  local program
  for program in curl awk; do
    command -v "$program" >/dev/null || fail 2 "$program is not installed"
  done
  need_url "the Aruna URL (--aruna-url, ARUNA_API_URL)" "${ARUNA_API_URL-}"
  ARUNA_API_URL=${ARUNA_API_URL%/}
  read_secret ARUNA_TOKEN
  [[ -n $DRY_RUN || ${ARUNA_TOKEN-} =~ ^[A-Za-z0-9._~+/=-]+$ ]] ||
    fail 2 "ARUNA_TOKEN (or ARUNA_TOKEN_FILE) must hold your Aruna API token, without \"Bearer\""
}

need_webhook_token() {
  read_secret WEBHOOK_TOKEN
  [[ ${WEBHOOK_TOKEN-} =~ ^[!-+.-~-]{16,}(,[!-+.-~-]{16,})?$ ]] ||
    fail 2 "WEBHOOK_TOKEN (or WEBHOOK_TOKEN_FILE) must hold 16 characters or more, no spaces: \
the service's own; openssl rand -hex 32 makes one"
}

read_expiry() { # WHEN: sets EXPIRES, Unix seconds
  local now day clock=0
  printf -v now '%(%s)T' -1
  if [[ $1 =~ ^([0-9]{1,4})([hdwy])$ ]]; then
    local -A unit=([h]=3600 [d]=86400 [w]=604800 [y]=31536000)
    EXPIRES=$((now + 10#${BASH_REMATCH[1]} * ${unit[${BASH_REMATCH[2]}]}))
  elif [[ $1 =~ ^([0-9]{4}-[0-9]{2}-[0-9]{2})(T(.*))?$ ]]; then
    day=${BASH_REMATCH[1]}
    [[ -z ${BASH_REMATCH[2]} ]] || read_clock "${BASH_REMATCH[3]}"
    EXPIRES=$(($(midnight "$day") + clock))
    [[ $(iso "$((EXPIRES - clock))") == "$day"T* ]] || fail 2 "--expires: there is no day $day"
  else
    fail 2 "--expires must be a duration (90d, 1y) or a date (2027-01-31), not \"$1\""
  fi
  ((EXPIRES > now)) || fail 2 "--expires $1 is not in the future"
  ((EXPIRES < 253402300800)) || fail 2 "--expires $1 is later than the year 9999"
}

read_clock() { # hh:mm[:ss][zone]: sets clock, seconds after midnight UTC
  [[ $1 =~ ^([01][0-9]|2[0-3]):([0-5][0-9])(:([0-5][0-9]))?(Z|([+-])([0-9]{2}):?([0-9]{2}))?$ ]] ||
    fail 2 "--expires: \"$1\" is not a time such as 12:00:00Z or 12:00+02:00"
  local -a m=("${BASH_REMATCH[@]}")
  clock=$((10#${m[1]} * 3600 + 10#${m[2]} * 60 + 10#0${m[4]}))
  clock=$((clock - ${m[6]}1 * (10#0${m[7]} * 3600 + 10#0${m[8]} * 60)))
}

midnight() { # yyyy-mm-dd: its Unix seconds, by the usual count of days from 1 March of year 0
  local year=$((10#${1:0:4})) month=$((10#${1:5:2})) day=$((10#${1:8:2}))
  ((month > 2)) || year=$((year - 1)) month=$((month + 12))
  day=$((day + (153 * (month - 3) + 2) / 5 + 365 * year + year / 4 - year / 100 + year / 400))
  printf '%d' $(((day - 719469) * 86400))
}

iso() { printf '%(%Y-%m-%dT%H:%M:%SZ)T' "$1"; }

unique() { # NAME: removes what is twice in the array NAME
  local -n array=$1
  local -a kept=()
  local item
  for item in "${array[@]}"; do
    [[ " ${kept[*]-} " == *" $item "* ]] || kept+=("$item")
  done
  array=("${kept[@]}")
}

# ---------------------------------------------------------------- JSON

json() { # TEXT: as a JSON string; settings with control characters have been refused
  local text=$1
  text=${text//\\/"\\\\"}
  printf '"%s"' "${text//\"/"\\\""}"
}

json_array() { # TEXT...
  local item joined=
  for item; do joined+=", $(json "$item")"; done
  printf '[%s]' "${joined#, }"
}

# Writes each scalar of a JSON document as path<TAB>value, control characters as spaces. Cut at
# its quotes, once the escaped ones are masked, a document is structure and strings in turn.
# shellcheck disable=SC2016  # awk's own $0
JSON_FIELDS='
function utf8(code) {
  if (code < 32 || (code > 126 && code < 160)) return " "
  if (code < 128) return sprintf("%c", code)
  if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
  if (code < 65536)
    return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
  return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64,
                 128 + int(code / 64) % 64, 128 + code % 64)
}
function hex(digits,   i, number) {
  for (i = 1; i <= 4; i++)
    number = number * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
  return number
}
function plain(text,   done, code, high, i, part, parts) {
  gsub(/\\[bfnrt]/, " ", text); gsub(/\\\//, "/", text)
  while (match(text, /\\u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]/)) {
    code = hex(substr(text, RSTART + 2, 4))
    done = done substr(text, 1, RSTART - 1)
    text = substr(text, RSTART + 6)
    if (code >= 55296 && code < 56320) { high = code; continue }
    if (code >= 56320 && code < 57344) code = 65536 + (high - 55296) * 1024 + code - 56320
    done = done utf8(code)
  }
  # awks differ about a backslash as the replacement of gsub.
  parts = split(done text, part, "\001")
  text = part[1]
  for (i = 2; i <= parts; i++) text = text "\\" part[i]
  gsub(/\002/, "\"", text)
  return text
}
function emit(value,   i, path) {
  for (i = 1; i <= depth; i++) path = path "." name[i]
  print substr(path, 2) "\t" value
}
function string(value) {
  if (awaits_key) name[depth] = value; else emit(value)
}
function structure(text,   i, c) {
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c == "{" || c == "[") { kind[++depth] = c; name[depth] = 0; awaits_key = c == "{" }
    else if (c == ":") awaits_key = 0
    else if (c == "," || c == "]" || c == "}") {
      if (literal != "" && literal != "null") emit(literal)
      literal = ""
      if (c == ",") { awaits_key = kind[depth] == "{"; if (!awaits_key) name[depth]++ }
      else depth--
    }
    else if (c != " ") literal = literal c
  }
}
{ document = document $0 " " }
END {
  gsub(/[\001-\037\177]|\302[\200-\237]/, " ", document)
  gsub(/\\\\/, "\001", document); gsub(/\\"/, "\002", document)
  pieces = split(document, piece, "\"")
  for (p = 1; p <= pieces; p++) if (p % 2) structure(piece[p]); else string(plain(piece[p]))
  exit document !~ /^ *[{]/ || depth != 0 || pieces % 2 == 0
}'

# Of the fields of a list of hooks makes one line for each hook, its columns (see each_hook)
# between unit separators; lists within a column are between spaces.
# shellcheck disable=SC2016  # awk's own $1
HOOK_LINES='
BEGIN { FS = "\t" }
match($1, /^infos\.[0-9]+\./) {
  hook = substr($1, 7, RLENGTH - 7) + 0
  if (hook >= hooks) hooks = hook + 1
  value[hook, substr($1, RLENGTH + 1)] = $2
}
# Shell arithmetic would execute what is no number.
function milliseconds(text) { return text ~ /^[1-9][0-9]*$/ && length(text) < 16 ? text : 0 }
function column(leaf) { line = line "\037" value[hook, leaf] }
function list(leaf, i, all) {
  for (i = 0; (hook, leaf "." i) in value; i++) all = all " " value[hook, leaf "." i]
  return substr(all, 2)
}
function filters(   i, one, all) {
  for (i = 0; i < 100; i++) {
    one = "trigger.filters." i
    if ((hook, one ".keyValue.key") in value)
      all = all " or " (value[hook, one ".keyValue.variant"] ~ /STATIC/ ? "static " : "") \
        value[hook, one ".keyValue.key"] "=" value[hook, one ".keyValue.value"]
    if ((hook, one ".name") in value) all = all " or name " value[hook, one ".name"]
  }
  return substr(all, 5)
}
END {
  for (hook = 0; hook < hooks; hook++) {
    line = value[hook, "hookId"] "\037" list("projectIds") "\037" filters()
    line = line "\037" milliseconds(value[hook, "timeout"])
    column("name"); column("trigger.triggerType")
    column("hook.externalHook.url"); column("hook.externalHook.method")
    column("hook.externalHook.credentials.token")
    print line
  }
}'

# ---------------------------------------------------------------- Aruna

# The token and the body reach curl on its standard input, since anybody can read the arguments of
# a process. Its configuration has quoted strings like JSON's.
curl_config() { # METHOD PATH [BODY]
  printf 'request = %s\nurl = %s\n' "$1" "$(json "$ARUNA_API_URL$2")"
  printf 'header = %s\n' "$(json "Authorization: Bearer $ARUNA_TOKEN")"
  [[ -z ${3-} ]] || printf 'header = "Content-Type: application/json"\ndata-raw = %s\n' \
    "$(json "${3//$'\n'/ }")"
}

# Calls Aruna's gateway; FIELDS holds the answer's scalars. False unless it answered 200.
call() { # METHOD PATH [BODY]
  local reply
  reply=$(curl_config "$@" | curl --silent --show-error --globoff --max-time 60 \
    --write-out '\n%{http_code}' --config -) || fail 3 "cannot reach Aruna at $ARUNA_API_URL"
  HTTP_STATUS=${reply##*$'\n'}
  FIELDS=$(printf '%s' "${reply%$'\n'*}" | awk "$JSON_FIELDS") ||
    fail 3 "HTTP $HTTP_STATUS without JSON: is $ARUNA_API_URL Aruna's REST gateway?"
  [[ $HTTP_STATUS == 200 ]]
}

field() { # PATH: prints that scalar of the last answer
  local path value
  while IFS=$'\t' read -r path value; do
    [[ $path != "$1" ]] || printf '%s' "$value"
  done < <(printf '%s\n' "$FIELDS")
}

refused() { # WHAT
  local hint=
  [[ $HTTP_STATUS != 401 ]] ||
    hint=' (is ARUNA_TOKEN valid, the id right, and your right on the project sufficient?)'
  fail 1 "$1: Aruna refused with HTTP $HTTP_STATUS: $(field message)$hint"
}

# Adds the hooks of a list to HOOKS, each once.
list_hooks() { # PATH
  call GET "$1" || return
  HOOKS=$(printf '%s\n%s\n' "$HOOKS" "$(printf '%s\n' "$FIELDS" | awk "$HOOK_LINES")" |
    awk -F '\037' '$1 != "" && !seen[$1]++')
}

list_own_hooks() {
  # Aruna: with an empty user id the owner is whoever the token belongs to.
  list_hooks /v2/hooks/owner/ || refused "listing your hooks"
}

list_neighbours() { # PROJECT...
  local project
  for project; do
    list_hooks "/v2/hooks/projects/$project" && continue
    [[ $HTTP_STATUS == 401 ]] || refused "listing the hooks of project $project"
    warn "cannot see other people's hooks in project $project (that needs ADMIN): $(field message)"
  done
}

# Runs a command for each hook, whose columns it finds in these variables.
each_hook() { # COMMAND [ARGUMENT]...
  local id projects filters timeout name trigger url method token
  while IFS=$'\037' read -r id projects filters timeout name trigger url method token; do
    [[ -z $id ]] || "$@"
  done < <(printf '%s\n' "$HOOKS")
}

# ---------------------------------------------------------------- commands

show_hook() {
  local until
  until=$(iso "$((timeout / 1000))")
  ((timeout / 1000 > $(printf '%(%s)T' -1))) || until+=' EXPIRED'
  printf '%s  %s\n  when      %s, %s\n  calls     %s %s\n  expires   %s\n  projects  %s\n' "$id" "$name" \
    "${trigger#TRIGGER_TYPE_}" "${filters:-no filter: it never fires}" \
    "${method#METHOD_}" "$url" "$until" "$projects"
}

list() {
  local project
  ((${#OPERANDS[@]} == 0)) || fail 2 "list takes no \"${OPERANDS[0]}\"; see --help"
  need_aruna
  need_ids "--project" "${PROJECTS[@]}"
  ((${#PROJECTS[@]})) || list_own_hooks
  for project in "${PROJECTS[@]}"; do
    list_hooks "/v2/hooks/projects/$project" || refused "listing the hooks of project $project"
  done
  each_hook show_hook
}

delete() {
  local hook
  need_aruna
  ((${#OPERANDS[@]})) || fail 2 "delete needs a hook's id"
  need_ids "hook" "${OPERANDS[@]}"
  for hook in "${OPERANDS[@]}"; do
    [[ -z $DRY_RUN ]] || { printf 'DELETE /v2/hooks/%s\n' "$hook" && continue; }
    call DELETE "/v2/hooks/$hook" || refused "deleting hook $hook"
    note "Hook $hook is deleted."
  done
}

warn_of_rival() { # HOOK TRIGGER PROJECT...
  local project
  [[ $id != "$1" && $trigger == "$2" ]] || return 0
  for project in "${@:3}"; do
    [[ " $projects " != *" $project "* ]] ||
      warn "hook $id (\"$name\", $url) listens to the same trigger in project $project: where both \
match, the callbacks destroy each other's status, and one of the two fails"
  done
}

# Aruna 2.0.4: a project that is added a second time gets every hook delivered twice.
add_missing() { # HOOK ITS_PROJECTS PROJECT...
  local project
  local -a missing=()
  for project in "${@:3}"; do
    if [[ " $2 " == *" $project "* ]]; then
      note "Hook $1 listens in project $project already."
    else
      missing+=("$project")
    fi
  done
  ((${#missing[@]})) || return 0
  call POST "/v2/hooks/$1" "{\"projectIds\": $(json_array "${missing[@]}")}" ||
    refused "adding ${missing[*]} to hook $1"
  note "Hook $1 now listens in ${missing[*]} too."
}

find_hook() { # ID
  [[ $id != "$1" ]] || FOUND=$id FOUND_PROJECTS=$projects FOUND_TRIGGER=$trigger
}

add_project() {
  local hook=${OPERANDS[0]-}
  local -a wanted=("${OPERANDS[@]:1}")
  need_aruna
  ((${#wanted[@]})) || fail 2 "add-project needs a hook's id and a project's"
  need_ids "hook or project" "${OPERANDS[@]}"
  unique wanted
  [[ -z $DRY_RUN ]] || { printf '{"projectIds": %s}\n' "$(json_array "${wanted[@]}")" && return; }
  list_own_hooks
  each_hook find_hook "$hook"
  [[ -n $FOUND ]] || fail 1 "hook $hook is not one of yours; \"list\" shows them"
  list_neighbours "${wanted[@]}"
  each_hook warn_of_rival "$hook" "$FOUND_TRIGGER" "${wanted[@]}"
  add_missing "$hook" "$FOUND_PROJECTS" "${wanted[@]}"
}

find_same() { # TRIGGER
  [[ -z $FOUND && $name == "$HOOK_NAME" && $url == "$WEBHOOK_URL" && $trigger == "$1" ]] || return 0
  FOUND=$id FOUND_PROJECTS=$projects
  [[ $method == "METHOD_$HOOK_METHOD" ]] || DIFFERENCES+=", it calls with ${method#METHOD_}"
  [[ $filters == "$EXPRESSIONS" ]] || DIFFERENCES+=", its filter is ${filters:-missing}"
  [[ ",$WEBHOOK_TOKEN," == *",$token,"* ]] || DIFFERENCES+=", it was given another WEBHOOK_TOKEN"
  ((timeout / 1000 > $(printf '%(%s)T' -1))) || DIFFERENCES+=", it has expired"
}

read_filters() { # sets EXPRESSIONS, for people and comparison, and FILTERS, JSON
  local label key value static='' variant=LABEL
  [[ $HOOK_TRIGGER != static-label ]] || static='static ' variant=STATIC_LABEL
  for label in "${LABELS[@]}"; do
    [[ -n ${label%%=*} && ! $label =~ [[:cntrl:]] ]] || fail 2 "$NEVER_FIRES"
    key=$(expression "${label%%=*}") value='^.*$'
    [[ $label != *=* ]] || value=$(expression "${label#*=}")
    EXPRESSIONS+=" or $static$key=$value"
    FILTERS+=", {\"keyValue\": {\"key\": $(json "$key"), \"value\": $(json "$value"), \
\"variant\": \"KEY_VALUE_VARIANT_$variant\"}}"
  done
  if [[ -n $HOOK_OBJECT_NAME ]]; then
    need_expression "$HOOK_OBJECT_NAME"
    EXPRESSIONS+=" or name $HOOK_OBJECT_NAME"
    FILTERS+=", {\"name\": $(json "$HOOK_OBJECT_NAME")}"
    warn "--object-name fires for files without a label too: where there are several filters, Aruna \
asks for any one of them, not for all"
  fi
  EXPRESSIONS=${EXPRESSIONS# or } FILTERS=${FILTERS#, }
  [[ -n $FILTERS ]] || fail 2 "$NEVER_FIRES"
  ((${#LABELS[@]} < 2)) || warn "several labels: any one of them is enough, Aruna does not ask for all"
}

is_found() { [[ '' =~ $1 ]]; } # REGEX: status 2 if it is none

# Aruna takes the expressions of Rust's regex crate and says nothing of a broken one, which never
# fires. The shell's own are near enough once the marks of groups are gone.
need_expression() { # REGEX
  local plain=$1 status=0
  [[ ! $1 =~ [[:cntrl:]] ]] || fail 2 "--object-name must be one line of text"
  [[ ! $1 =~ \(\?(=|!|<=|<!) && ! $1 =~ (^|[^\\])(\\\\)*\\[1-9] ]] ||
    fail 2 "--object-name: Aruna's expressions have no look-around and no back-references: \"$1\""
  while [[ $plain =~ \(\?(P?<[A-Za-z_][A-Za-z0-9_]*>|[A-Za-z-]*:) ]]; do
    plain=${plain/"${BASH_REMATCH[0]}"/(}
  done
  while [[ $plain =~ \(\?[A-Za-z-]+\) ]]; do plain=${plain/"${BASH_REMATCH[0]}"/}; done
  is_found "$plain" 2>/dev/null || status=$?
  ((status < 2)) || fail 2 "--object-name is not a regular expression: \"$1\""
}

# Aruna: filters are unanchored regular expressions, BC matches ABCD.
expression() { # TEXT: a regular expression that matches it alone
  local text=$1 special
  for special in \\ . + '*' '?' '(' ')' '|' '[' ']' '{' '}' '^' '$'; do
    text=${text//"$special"/"\\$special"}
  done
  printf '^%s$' "$text"
}

hook_json() { # TRIGGER TOKEN
  printf '{
  "name": %s,
  "description": "Turns ABCD files into Bioschemas JSON-LD",
  "projectIds": %s,
  "timeout": "%s000",
  "trigger": {"triggerType": "%s", "filters": [%s]},
  "hook": {"externalHook": {"url": %s, "method": "METHOD_%s", "credentials": {"token": %s}}}
}\n' "$(json "$HOOK_NAME")" "$(json_array "${PROJECTS[@]}")" "$EXPIRES" "$1" "$FILTERS" \
    "$(json "$WEBHOOK_URL")" "$HOOK_METHOD" "$(json "$2")"
}

create_hook() { # TRIGGER
  FOUND='' DIFFERENCES=''
  each_hook find_same "$1"
  each_hook warn_of_rival "$FOUND" "$1" "${PROJECTS[@]}"
  if [[ -n $FOUND ]]; then
    [[ -z $DIFFERENCES ]] ||
      fail 4 "hook $FOUND has this name, URL and trigger, but ${DIFFERENCES#, }. Delete it first."
    note "Hook $FOUND (\"$HOOK_NAME\") exists already."
    add_missing "$FOUND" "$FOUND_PROJECTS" "${PROJECTS[@]}"
  else
    call POST /v2/hooks "$(hook_json "$1" "${WEBHOOK_TOKEN%%,*}")" || refused "creating the hook"
    FOUND=$(field hookId)
    note "Hook $FOUND (\"$HOOK_NAME\") is created and expires on $(iso "$EXPIRES"). Aruna still \
calls after that, but with an expired token: delete the hook and create it again before then."
  fi
  printf '%s\n' "$FOUND"
}

need_create_settings() {
  ((${#OPERANDS[@]} == 0)) || fail 2 "create takes no \"${OPERANDS[0]}\"; see --help"
  need_aruna
  need_url "the service's URL (--url, WEBHOOK_URL)" "${WEBHOOK_URL-}"
  [[ ${WEBHOOK_URL%%\?*} == */webhook ]] || warn "$WEBHOOK_URL does not end in /webhook, where the service listens"
  need_webhook_token
  ((${#PROJECTS[@]})) || IFS=', ' read -ra PROJECTS <<<"${PROJECT_IDS-}"
  ((${#PROJECTS[@]})) || fail 2 "create needs a project (--project, PROJECT_IDS)"
  need_ids "--project" "${PROJECTS[@]}"
  unique PROJECTS
  [[ -n $HOOK_NAME && ! $HOOK_NAME =~ [[:cntrl:]] ]] || fail 2 "--name must be one line of text"
  HOOK_METHOD=${HOOK_METHOD^^}
  [[ $HOOK_METHOD == P@(OS|U)T ]] || fail 2 "--method must be POST or PUT, not \"$HOOK_METHOD\""
  read_filters
  read_expiry "$HOOK_EXPIRES"
}

create() {
  local trigger
  local -a triggers
  need_create_settings
  case $HOOK_TRIGGER in
    finished) triggers=(TRIGGER_TYPE_OBJECT_FINISHED) ;;
    label) triggers=(TRIGGER_TYPE_LABEL_ADDED) ;;
    static-label) triggers=(TRIGGER_TYPE_STATIC_LABEL_ADDED) ;;
    both) triggers=(TRIGGER_TYPE_OBJECT_FINISHED TRIGGER_TYPE_LABEL_ADDED) ;;
    *) fail 2 "--trigger must be finished, label, static-label or both, not \"$HOOK_TRIGGER\"" ;;
  esac
  if [[ -n $DRY_RUN ]]; then
    for trigger in "${triggers[@]}"; do hook_json "$trigger" '***'; done
    return
  fi
  list_own_hooks
  list_neighbours "${PROJECTS[@]}"
  for trigger in "${triggers[@]}"; do create_hook "$trigger"; done
}

main() {
  local command=${1-}
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail 2 "needs bash 4.4 or newer"
  DRY_RUN='' ENV_FILE='' PROJECTS=() LABELS=() OPERANDS=() HOOKS='' FOUND='' EXPRESSIONS='' FILTERS=''
  case $command in
    create | list | add-project | delete) shift ;;
    --help | -h) usage && exit 0 ;;
    *) fail 2 "name a command: create, list, add-project or delete; see --help" ;;
  esac
  read_arguments "$@"
  [[ -z $ENV_FILE || -r $ENV_FILE ]] || fail 2 "--env-file: cannot read $ENV_FILE"
  [[ ! -r ${ENV_FILE:-.env} ]] || read_env_file "${ENV_FILE:-.env}"
  : "${HOOK_OBJECT_NAME=}"
  [[ -n $HOOK_OBJECT_NAME ]] || : "${HOOK_LABEL=ABCD}"
  ((${#LABELS[@]})) || IFS=, read -ra LABELS <<<"${HOOK_LABEL-}"
  : "${HOOK_NAME=ABCD to Bioschemas}" "${HOOK_TRIGGER=finished}" "${HOOK_METHOD=POST}" \
    "${HOOK_EXPIRES=1y}"
  "${command//-/_}"
}

main "$@"
