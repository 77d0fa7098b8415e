#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests.
#
#   bash tools/test.sh [SUITE...] [--device cpu] [--filter REGEX]
#
#   lit    the compiler's passes, ops and error messages (lit, FileCheck)
#   unit   the runtime and the support libraries (GoogleTest, by ctest)
#   onnx   the backend suite of the onnx wheel, 1,914 tests; --device cpu
#   e2e    whole models, dynamic shapes, the command line, bad input, reproducible builds, the installed package
#   fuzz   every fuzz target for 30 seconds (FLAME_FUZZ_SECONDS) under the address and undefined-behaviour sanitizers
#   docs   commands quoted in the documentation, generated pages up to date, file sizes, include rules
#   gpu    what tools/gpu-pack.sh has packed, on the GPU of this machine; skipped where there is none. Asked for alone it
#          needs Python, a driver and build/gpu, and installs and builds nothing
#   all    the above (default)
#
# --filter restricts lit, unit, onnx and e2e to matching names. The last line is `N passed, N failed, N skipped` over
# all suites; the status is 1 if anything failed, or if a suite that was asked for could not run.

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

device=cpu filter='' suites=()
while [ $# -gt 0 ]; do
  case "$1" in
  lit | unit | onnx | e2e | fuzz | docs | gpu) suites+=("$1") ;;
  all) suites+=(lit unit onnx e2e fuzz docs gpu) ;;
  --device=*) device=${1#*=} ;;
  --filter=*) filter=${1#*=} ;;
  --device | --filter)
    [ $# -ge 2 ] || die "$1 needs a value"
    printf -v "${1#--}" '%s' "$2"
    shift
    ;;
  -h | --help) usage && exit 0 ;;
  *)
    usage >&2
    die "unknown suite or option '$1'"
    ;;
  esac
  shift
done
[ ${#suites[@]} -gt 0 ] || suites=(lit unit onnx e2e fuzz docs gpu)
[ "$device" = cpu ] || die "--device $device: this build has the device cpu only"

results="$FLAME_BUILD/test-results"
mkdir -p "$results"
tally="$results/tally.txt"
: >"$tally"

# record SUITE FILE: takes the counts from the last line of FILE of the form `… N passed, N failed, N skipped …`.
# A suite that ended without such a line did not run, which is one failure.
record() {
  local suite=$1 file=$2 status=$3 line
  line=$(grep -Eo '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$file" | tail -n 1 || true)
  if [ -z "$line" ]; then
    note "$suite did not run to its end (status $status)"
    line='0 passed, 1 failed, 0 skipped'
  elif [ "$status" -ne 0 ] && [[ $line == *', 0 failed,'* ]]; then
    note "$suite ended with status $status although its count shows no failure"
    line=${line/, 0 failed,/, 1 failed,}
  fi
  printf '%s %s\n' "$suite" "$line" >>"$tally"
}

# run SUITE COMMAND...: runs with the output on the terminal and in build/test-results/SUITE.log.
run() {
  local suite=$1 status=0
  shift
  step "$suite"
  "$@" </dev/null 2>&1 | tee "$results/$suite.log" || status=${PIPESTATUS[0]}
  record "$suite" "$results/$suite.log" "$status"
}

not_run() {
  note "$1 did not run: $2"
  printf '%s 0 passed, 1 failed, 0 skipped\n' "$1" >>"$tally"
}

release="$FLAME_BUILD/release"
python_suite() { PYTHONPATH="$FLAME_ROOT/test/e2e" "$FLAME_PYTHON" "$@"; }

suite_lit() {
  run lit python_suite tools/lib/run_lit.py --build "$release" --jobs "$FLAME_JOBS" ${filter:+--filter "$filter"}
}

suite_unit() {
  run unit python_suite tools/lib/run_ctest.py --build "$release" --jobs "$FLAME_JOBS" ${filter:+--filter "$filter"}
}

suite_onnx() {
  run onnx python_suite test/e2e/onnx_suite.py --flamec "$release/bin/flamec" --device "$device" \
    --jobs "$FLAME_JOBS" ${filter:+--filter "$filter"}
}

suite_e2e() {
  run e2e python_suite test/e2e/run_all.py --bin "$release/bin" --jobs "$FLAME_JOBS" ${filter:+--filter "$filter"}
}

suite_fuzz() {
  local targets
  if ! build asan fuzzers; then
    not_run fuzz "the fuzz targets do not build with the preset asan"
    return
  fi
  targets=$(find "$FLAME_BUILD/asan/bin" -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x 2>/dev/null | sort)
  # shellcheck disable=SC2086
  run fuzz python_suite tools/lib/run_fuzz.py --seconds "${FLAME_FUZZ_SECONDS:-30}" --jobs "$FLAME_JOBS" \
    --corpus "$FLAME_BUILD/asan/test/fuzz/corpus" --artifacts "$results/fuzz" $targets
}

suite_docs() { run docs python_suite tools/lib/check_docs.py --bin "$release/bin"; }

suite_gpu() {
  if [ ! -e /dev/nvidiactl ]; then
    note "gpu skipped: no CUDA device here"
    printf 'gpu 0 passed, 0 failed, 1 skipped\n' >>"$tally"
  elif [ ! -x "$FLAME_BUILD/gpu/flame-run" ]; then
    not_run gpu "build/gpu is missing; bash tools/gpu-pack.sh makes it"
  else
    if [ -x "$FLAME_BUILD/gpu/flamec" ] && [ ! -d "$FLAME_BUILD/gpu/suites" ]; then
      note "compiling the GPU suite"
      python3 test/gpu/make_all.py --flamec "$FLAME_BUILD/gpu/flamec" ${filter:+--filter "$filter"} \
        --only onnx,contract,tf32,attention,forms,reduce,runtime "$FLAME_BUILD/gpu" || not_run gpu "not all tests compile"
    fi
    run gpu python3 test/gpu/run_all.py --pack "$FLAME_BUILD/gpu" --report "$results/gpu.json" \
      ${filter:+--filter "$filter"}
  fi
}

if [ "${suites[*]}" = gpu ]; then
  suite_gpu
  awk '{ printf "%d passed, %d failed, %d skipped\n", $2, $4, $6; exit $4 > 0 }' "$tally"
  exit
fi

setup
built=yes
build release || built=''
for suite in "${suites[@]}"; do
  if [ -n "$built" ]; then
    "suite_$suite"
  else
    not_run "$suite" "the build failed"
  fi
done

step "summary"
sed 's/^/    /' "$tally" >&2
awk '{ passed += $2; failed += $4; skipped += $6 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit failed > 0 || passed == 0 }' "$tally"
