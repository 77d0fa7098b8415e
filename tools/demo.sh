#!/usr/bin/env bash
# Installs what is missing, builds flame, compiles the two digit classifiers of examples/digits and puts them to work:
# accuracy on held-out scans, agreement with ONNX Runtime, latency, and what flamec says about the artifacts. Then makes a
# picture of a text with a FLUX pipeline of small random weights, build/demo/fox.png.
#
#   bash tools/demo.sh

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

case "${1:-}" in
'') ;;
-h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
*) die "unknown option '$1'" "usage: bash tools/demo.sh" ;;
esac

setup
build release flamec || exit 1
PYTHONPATH="$FLAME_ROOT/test/e2e" exec "$FLAME_PYTHON" tools/lib/demo.py \
  --flamec "$FLAME_BUILD/release/bin/flamec" --scratch "$FLAME_BUILD/demo"
