#!/usr/bin/env bash
# Builds flame and installs it: flamec, flame-run, the runtime library, headers and the CMake package.
#
#   bash tools/install.sh [--prefix DIR] [--portable]
#
#   --prefix     where to; default /usr/local
#   --portable   link LLVM statically: the programs then run on any Linux of the same architecture with glibc 2.36

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

prefix=/usr/local preset=release
while [ $# -gt 0 ]; do
  case "$1" in
  --prefix=*) prefix=${1#*=} ;;
  --prefix)
    [ $# -ge 2 ] || die "--prefix needs a value"
    prefix=$2
    shift
    ;;
  --portable) preset=portable ;;
  -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
  *) die "unknown option '$1'" "usage: bash tools/install.sh [--prefix DIR] [--portable]" ;;
  esac
  shift
done
if ! mkdir -p "$prefix" 2>/dev/null || [ ! -w "$prefix" ]; then
  die "cannot write to $prefix" "choose another place with --prefix DIR, or run as root"
fi

setup --no-python
build "$preset" || exit 1
quietly "$FLAME_BUILD/logs/install.log" cmake --install "$FLAME_BUILD/$preset" --prefix "$prefix" || exit 1
step "installed in $prefix: run $prefix/bin/flamec --help"
