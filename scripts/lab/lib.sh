# Sourced by the scripts beside it: where the lab keeps things, and how it speaks. Not run by itself.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# Everything that the lab makes is below this folder (git-ignored); remove it and all is gone.
LAB=${LAB:-$ROOT/.lab}
# The network namespaces are $LAB_NAME-host and $LAB_NAME-inet; a second lab beside the first takes another name and folder.
LAB_NAME=${LAB_NAME:-outcall}
ENGINE=$LAB/engine
# Short, because a Unix socket's path may have 107 bytes.
RUN=$LAB/run
export LAB LAB_NAME RUN
mkdir -p "$LAB" "$RUN"

say() { echo "lab: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

# How long anything of the lab may take to come up or go down: dockerd takes 1 to 3 s, on a busy machine up to 20.
WAIT_TENTHS=600

# wait_until WHAT COMMAND...: tries the command every 0.1 s.
wait_until() {
  local what=$1 i
  shift
  for ((i = 0; i < WAIT_TENTHS; i++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  say "$what did not happen in $((WAIT_TENTHS / 10)) s"
  return 1
}

# alive FILE: the process whose id the file holds runs.
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

# end_process FILE: asks the process whose id the file holds to end, and waits until it has.
end_process() {
  local pid
  alive "$1" || return 0
  pid=$(cat "$1")
  kill "$pid"
  wait_until "the end of process $pid" not kill -0 "$pid" || kill -9 "$pid"
  rm -f "$1"
}

not() { ! "$@"; }

# The package mirror that this machine uses, without naming one here.
mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1 | sed 's#/$##'
}

# install_packages PACKAGE...: those that are missing, from the distribution.
install_packages() {
  local package missing=()
  for package in "$@"; do
    [ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || fail "missing: ${missing[*]}; install them as root"
  say "installing ${missing[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
}
