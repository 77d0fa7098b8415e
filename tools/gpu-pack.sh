#!/usr/bin/env bash
# Packs what the GPU suite needs into build/gpu: programs that need libc alone, and tests compiled for the GPU. A machine
# with a GPU, Python and a driver, but without MLIR, NVRTC or onnx, then runs `bash tools/test.sh gpu` and
# `bash tools/bench.sh rows`, `short`, `attention`, `matrix`, `decode` or `flux` from a copy of this folder and that one. With
# --compiler the pack has the compiler instead of the tests, for a machine that has NVRTC, NumPy and onnx: `bash tools/test.sh gpu` compiles them there, and
# `python3 test/gpu/make_all.py --flamec build/gpu/flamec build/gpu` all that the benchmarks run.
#
#   bash tools/gpu-pack.sh [--gpu sm_90a] [--filter REGEX] [--compiler]

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

gpu=sm_90a filter='' compiler=''
while [ $# -gt 0 ]; do
  case "$1" in
  --gpu) gpu=${2:?--gpu needs a value} && shift 2 ;;
  --filter) filter=${2:?--filter needs a value} && shift 2 ;;
  --compiler) compiler=1 && shift ;;
  -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
  *) die "usage: bash tools/gpu-pack.sh [--gpu sm_90a] [--filter REGEX] [--compiler]" ;;
  esac
done

setup
[ -n "$compiler" ] || build release flamec || exit 1
flamec="$FLAME_BUILD/release/bin/flamec" pack="$FLAME_BUILD/gpu"
rm -rf "$pack"
mkdir -p "$pack"

step "building the portable runtime"
cmake -G Ninja -S . -B "$FLAME_BUILD/gpu-runtime" -DCMAKE_BUILD_TYPE=Release -DFLAME_COMPILER=OFF -DFLAME_TESTS=ON \
  -DFLAME_PORTABLE=ON >/dev/null
cmake --build "$FLAME_BUILD/gpu-runtime" --target flame-run flame_rt flame_diffusion_shared flame_runtime_tests
cp "$FLAME_BUILD/gpu-runtime/bin/"{flame-run,flame_runtime_tests} "$pack/"
for library in libflame_rt libflame_diffusion libflame_fake_cuda libflame_fake_nvtx flame_test_kernels flame_test_device_kernels; do
  cp -L "$FLAME_BUILD/gpu-runtime/lib/$library.so" "$pack/"
done

if [ -n "$compiler" ]; then
  step "building the portable compiler"
  cmake --preset portable >/dev/null && cmake --build --preset portable --target flamec || exit 1
  cp "$FLAME_BUILD/portable/bin/flamec" "$pack/"
else
  step "compiling tests and benchmarks for $gpu"
  "$FLAME_PYTHON" test/gpu/make_all.py --flamec "$flamec" --gpu "$gpu" --jobs "$FLAME_JOBS" --archives \
    ${filter:+--filter "$filter"} "$pack" || exit 1
fi
du -sh "$pack"
