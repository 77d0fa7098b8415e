#!/usr/bin/env bash
# Installs what flame is built and tested with: the Debian packages of tools/packages.txt and, into build/venv, the
# Python packages of tools/requirements.txt. Does only what is missing, so that a second run needs no network and no
# root. Sourced by the other scripts, or run by itself:
#
#   bash tools/setup.sh [--no-python] [--check]
#
#   --no-python   leave build/venv alone: enough to build and to use flamec
#   --check       install nothing; list what is missing, status 1 if anything is

source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

# Prints the names in tools/packages.txt that dpkg does not have installed, one a line.
missing_packages() {
  local wanted installed
  wanted=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$FLAME_ROOT/tools/packages.txt" | sort -u)
  # shellcheck disable=SC2086
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^ii  *//p' | sort -u)
  comm -23 <(printf '%s\n' "$wanted") <(printf '%s\n' "$installed")
}

install_packages() {
  command -v dpkg-query >/dev/null 2>&1 ||
    die "this is not Debian, so tools/setup.sh cannot install packages" \
      "install the equivalents of tools/packages.txt by hand (MLIR and LLVM 22 are the large ones)," \
      "then set FLAME_SKIP_PACKAGES=1 to leave this step out"
  local missing
  missing=$(missing_packages | tr '\n' ' ')
  missing=${missing% }
  [ -n "$missing" ] || return 0
  [ "$(id -u)" -eq 0 ] ||
    die "Debian packages are missing and only root can install them" "missing: $missing" \
      "run: sudo bash tools/setup.sh"
  command -v apt-get >/dev/null 2>&1 || die "apt-get is missing, so these packages cannot be installed: $missing"

  step "installing $(wc -w <<<"$missing") Debian packages"
  note "$missing"
  local log="$FLAME_BUILD/logs/apt.log" apt=(apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -y)
  export DEBIAN_FRONTEND=noninteractive
  # One unreachable third-party list must not stop the rest: the install that follows tells whether it mattered.
  quietly "$log" "${apt[@]}" update || note "apt-get update failed; going on with the package lists at hand"
  local package unknown=''
  for package in $missing; do
    apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || unknown="$unknown $package"
  done
  [ -z "$unknown" ] ||
    die "apt does not know these packages:$unknown" \
      "Debian 12 has them with its security updates (main, bookworm-security); check /etc/apt and the network," \
      "then run again. This system: $(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-unknown}")"
  # shellcheck disable=SC2086
  quietly "$log" "${apt[@]}" install --no-install-recommends $missing ||
    die "apt-get install failed (is the network reachable?)" "log: $log"
}

# A base interpreter of at least 3.11 that can make virtual environments.
base_python() {
  local candidate
  for candidate in "${FLAME_BASE_PYTHON:-}" /usr/bin/python3 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return 0
    fi
  done
  die "no python3 of version 3.11 or newer with the venv module was found" "install: apt-get install python3-venv"
}

# The environment is complete when its stamp equals the requirements and the interpreter still starts.
install_python() {
  local venv="$FLAME_BUILD/venv" stamp
  stamp=$(sha256sum <"$FLAME_ROOT/tools/requirements.txt" | cut -d' ' -f1)
  if [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" -c '' >/dev/null 2>&1; then
    return 0
  fi
  step "installing the Python packages into build/venv"
  local log="$FLAME_BUILD/logs/pip.log" python
  python=$(base_python)
  rm -rf "$venv"
  quietly "$log" "$python" -m venv "$venv" || die "cannot make a virtual environment with $python" "log: $log"
  if ! quietly "$log" "$venv/bin/python" -m pip install --disable-pip-version-check --only-binary=:all: --retries 3 \
    --no-input -r "$FLAME_ROOT/tools/requirements.txt"; then
    rm -rf "$venv"
    die "pip could not install tools/requirements.txt (is the network reachable?)" "log: $log"
  fi
  printf '%s\n' "$stamp" >"$venv/.stamp"
}

# setup [--no-python]: brings the machine to the state that the other scripts need.
setup() {
  mkdir -p "$FLAME_BUILD/logs"
  [ -n "${FLAME_SKIP_PACKAGES:-}" ] || install_packages
  [ "${1:-}" = --no-python ] || install_python
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case "${1:-}" in
  '') setup && step "ready: bash tools/test.sh, bash tools/demo.sh" ;;
  --no-python) setup --no-python && step "ready to build: bash tools/build.sh" ;;
  --check)
    missing=$(missing_packages)
    [ -z "$missing" ] || { printf '%s\n' "$missing" && exit 1; }
    ;;
  -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
  *) die "unknown option '$1'" "usage: bash tools/setup.sh [--no-python] [--check]" ;;
  esac
fi
