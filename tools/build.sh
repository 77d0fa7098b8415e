#!/usr/bin/env bash
# Configures and builds a preset of CMakePresets.json in build/PRESET, through ccache where there is one.
#
#   bash tools/build.sh [PRESET] [TARGET...]     PRESET: release (default), debug, asan, portable

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# build PRESET [TARGET...]: configures once and whenever CMake's inputs change, then builds.
build() {
  local preset=$1
  shift
  local dir="$FLAME_BUILD/$preset" targets=()
  if [ ! -f "$dir/build.ninja" ]; then
    step "configuring $preset"
    quietly "$FLAME_BUILD/logs/configure-$preset.log" \
      cmake --preset "$preset" -DPython3_EXECUTABLE="$(base_python)" || return 1
    grep -E 'left out|not found: ' "$FLAME_BUILD/logs/configure-$preset.log" | sed 's/^-- */    /' >&2 || true
  fi
  [ $# -eq 0 ] || targets=(--target "$@")
  step "building $preset${*:+ ($*)}"
  quietly "$FLAME_BUILD/logs/build-$preset.log" cmake --build "$dir" --parallel "$FLAME_JOBS" "${targets[@]}"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case "${1:-}" in -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;; esac
  setup --no-python
  preset=${1:-release}
  [ $# -eq 0 ] || shift
  build "$preset" "$@" || exit 1
  step "built: build/$preset/bin"
fi
