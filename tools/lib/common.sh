# Shared by the scripts in tools/: where things are, how messages look. Sourced, never run.
#
# After sourcing: FLAME_ROOT is the checkout (and the working directory), FLAME_BUILD the build folder that holds the
# presets' directories, FLAME_PYTHON the interpreter of build/venv, FLAME_LLVM LLVM's prefix. Progress goes to stderr.

set -euo pipefail

FLAME_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
FLAME_BUILD="$FLAME_ROOT/build"
FLAME_PYTHON="$FLAME_BUILD/venv/bin/python"
FLAME_LLVM="${FLAME_LLVM:-/usr/lib/llvm-22}"
FLAME_JOBS="${FLAME_JOBS:-$(nproc)}"
export FLAME_ROOT FLAME_BUILD FLAME_PYTHON FLAME_LLVM FLAME_JOBS
cd "$FLAME_ROOT"

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  flame_bold=$'\e[1m' flame_dim=$'\e[2m' flame_red=$'\e[31m' flame_off=$'\e[0m'
else
  flame_bold='' flame_dim='' flame_red='' flame_off=''
fi

step() { printf '%s==> %s%s\n' "$flame_bold" "$*" "$flame_off" >&2; }
note() { printf '%s    %s%s\n' "$flame_dim" "$*" "$flame_off" >&2; }
die() {
  printf '%serror:%s %s\n' "$flame_red" "$flame_off" "$1" >&2
  shift
  local line
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# quietly LOG COMMAND...: runs the command with its output in LOG; on failure shows the log's end and returns its status.
quietly() {
  local log=$1 status=0
  shift
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    tail -n 40 "$log" >&2
    printf '%serror:%s `%s` failed with status %s; the whole log: %s\n' "$flame_red" "$flame_off" "$*" "$status" "$log" >&2
  fi
  return "$status"
}
