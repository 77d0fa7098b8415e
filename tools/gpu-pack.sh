#!/usr/bin/env bash
# Packs what the GPU suite needs into build/gpu: programs that need libc alone, and tests compiled for the GPU. A machine
# with a GPU, Python and a driver, but without MLIR, NVRTC or onnx, then runs `bash tools/test.sh gpu` and
# `bash tools/bench.sh rows` or `short` from a copy of this folder and that one.
#
#   bash tools/gpu-pack.sh [--gpu sm_90a] [--filter REGEX]

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

gpu=sm_90a filter=''
while [ $# -gt 0 ]; do
  case "$1" in
  --gpu) gpu=${2:?--gpu needs a value} && shift 2 ;;
  --filter) filter=${2:?--filter needs a value} && shift 2 ;;
  -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
  *) die "usage: bash tools/gpu-pack.sh [--gpu sm_90a] [--filter REGEX]" ;;
  esac
done

setup
build release flamec || exit 1
flamec="$FLAME_BUILD/release/bin/flamec" pack="$FLAME_BUILD/gpu"
rm -rf "$pack"
mkdir -p "$pack"

step "building the portable runtime"
cmake -G Ninja -S . -B "$FLAME_BUILD/gpu-runtime" -DCMAKE_BUILD_TYPE=Release -DFLAME_COMPILER=OFF -DFLAME_TESTS=ON \
  -DFLAME_PORTABLE=ON >/dev/null
cmake --build "$FLAME_BUILD/gpu-runtime" --target flame-run flame_rt flame_runtime_tests
cp "$FLAME_BUILD/gpu-runtime/bin/"{flame-run,flame_runtime_tests} "$pack/"
for library in libflame_rt libflame_fake_cuda libflame_fake_nvtx flame_test_kernels flame_test_device_kernels; do
  cp -L "$FLAME_BUILD/gpu-runtime/lib/$library.so" "$pack/"
done

step "compiling the ONNX backend suite for $gpu"
python() { PYTHONPATH="$FLAME_ROOT/test/e2e" "$FLAME_PYTHON" "$@"; }
python test/gpu/pack_suite.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" ${filter:+--filter "$filter"} \
  "$pack/onnx.tar.gz"
step "compiling products and convolutions"
python test/gpu/make_contract_cases.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" \
  ${filter:+--filter "$filter"} "$pack/contract.tar.gz"
step "compiling products and convolutions in TF32"
python test/gpu/make_contract_cases.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" --precision tf32 \
  --filter "${filter:-_f32}" "$pack/tf32.tar.gz"
step "compiling attention"
python test/gpu/make_attention_cases.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" \
  ${filter:+--filter "$filter"} "$pack/attention.tar.gz"
step "compiling every kernel form over types and sizes"
python test/gpu/make_form_cases.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" \
  ${filter:+--filter "$filter"} "$pack/forms.tar.gz"
step "compiling reductions, norms and scans"
python test/gpu/make_reduce_cases.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" \
  ${filter:+--filter "$filter"} "$pack/reduce.tar.gz"
step "compiling the models of the runtime's checks"
python test/gpu/make_runtime_cases.py --flamec "$flamec" --gpu "$gpu" "$pack/runtime"
step "compiling the rows of the benchmark"
python tools/lib/bench_rows.py make --flamec "$flamec" --gpu "$gpu" ${filter:+--filter "$filter"} "$pack/rows"
step "compiling the short models of the benchmark"
python tools/lib/bench_short.py make --flamec "$flamec" --gpu "$gpu" "$pack/short"
step "compiling the attention of the benchmark"
python tools/lib/bench_attention.py make --flamec "$flamec" --gpu "$gpu" ${filter:+--filter "$filter"} "$pack/attention"
du -sh "$pack"
