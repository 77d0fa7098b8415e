#!/usr/bin/env bash
# Measures flame against ONNX Runtime on whole models: latency in alternating rounds, compile time, memory.
#
#   bash tools/bench.sh cpu [--models NAME,NAME...] [--rounds N] [--threads N] [--format table|md|json]
#
# The models are built on the fly (test/e2e/models); results must agree before they are timed. The ratio is flame's
# time over ONNX Runtime's, so below 1 flame is faster. The status is 1 if a result deviates.

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

case "${1:-}" in
cpu) shift ;;
-h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
*) die "usage: bash tools/bench.sh cpu [--models …] [--rounds N] [--threads N] [--format table|md|json]" ;;
esac

setup
build release flamec || exit 1
PYTHONPATH="$FLAME_ROOT/test/e2e" exec "$FLAME_PYTHON" tools/lib/bench.py --flamec "$FLAME_BUILD/release/bin/flamec" \
  --scratch "$FLAME_BUILD/bench" "$@"
