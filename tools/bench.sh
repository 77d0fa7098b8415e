#!/usr/bin/env bash
# Measures flame against its rivals, both in one run.
#
#   bash tools/bench.sh cpu [--models NAME,NAME...] [--rounds N] [--threads N] [--format table|md|json]
#   bash tools/bench.sh short [--models NAME,NAME...] [--kernels] [--no-compile] [--format table|md|json]
#   bash tools/bench.sh rows [--filter REGEX] [--rounds N] [--no-compile] [--format table|md|json]
#   bash tools/bench.sh attention [--filter REGEX] [--rounds N] [--format table|md|json]
#   bash tools/bench.sh matrix [--filter REGEX] [--rounds N] [--no-compile] [--format table|md|json]
#   bash tools/bench.sh decode [--filter REGEX] [--rounds N] [--format table|md|json]
#   bash tools/bench.sh flux [--filter REGEX] [--rounds N] [--no-compile|--whole] [--weights FOLDER] [--format table|md|json]
#   bash tools/bench.sh nvrtc [--filter REGEX] [--repeats N] [--format table|md|json]
#
# cpu: whole models against ONNX Runtime: latency in alternating rounds, compile time, memory. The models are built on the
# fly (test/e2e/models); results must agree before they are timed. The ratio is flame's time over ONNX Runtime's, so
# below 1 flame is faster.
# rows: memory-bound kernels against PyTorch on the GPU of this machine, eager and compiled; needs PyTorch and what
# tools/gpu-pack.sh has packed, and installs and builds nothing.
# attention: against PyTorch's backends of scaled_dot_product_attention, FlashAttention-2 and cuDNN; needs the same.
# matrix: products against cuBLASLt and, with more behind them, torch.compile; needs the same.
# decode: a token of a language model against PyTorch's kernels in a CUDA graph; needs the same, and makes and removes 2.3 GB of weights.
# short: latency of BERT base and ResNet-50, batch 1, in f16, against PyTorch eager and compiled; needs the same.
# flux: the models of FLUX.1-schnell in their full sizes, from their folders, against diffusers and transformers, which must be
# installed; needs the same, 34 GB for weights that it makes and removes, and 80 GB on the GPU.
# nvrtc: what the CUDA compiler takes of one core for the kernels of matrix and attention; needs no GPU.
# The status is 1 if a result deviates.

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

case "${1:-}" in
cpu | nvrtc) ;;
rows | attention | matrix | decode | flux)
  what=$1
  shift
  [ -d "$FLAME_BUILD/gpu/$what" ] || die "build/gpu/$what is missing" "bash tools/gpu-pack.sh makes it"
  exec python3 "tools/lib/bench_$what.py" run --library "$FLAME_BUILD/gpu/libflame_rt.so" "$@" "$FLAME_BUILD/gpu/$what"
  ;;
short)
  shift
  [ -d "$FLAME_BUILD/gpu/short" ] || die "build/gpu/short is missing" "bash tools/gpu-pack.sh makes it"
  exec python3 tools/lib/bench_short.py run --library "$FLAME_BUILD/gpu/libflame_rt.so" "$@" "$FLAME_BUILD/gpu/short"
  ;;
-h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
*) die "usage: bash tools/bench.sh cpu|rows|attention|matrix|decode|short|flux|nvrtc [options]" "see bash tools/bench.sh --help" ;;
esac

setup
build release flamec || exit 1
what=$1
shift
if [ "$what" = nvrtc ]; then
  exec "$FLAME_PYTHON" tools/lib/bench_nvrtc.py --flamec "$FLAME_BUILD/release/bin/flamec" "$@"
fi
PYTHONPATH="$FLAME_ROOT/test/e2e" exec "$FLAME_PYTHON" tools/lib/bench.py --flamec "$FLAME_BUILD/release/bin/flamec" \
  --scratch "$FLAME_BUILD/bench" "$@"
