#!/usr/bin/env bash
# Writes docs/Coverage.md from the importer's own table (flamec --list-ops) and the operator schemas of the onnx wheel.
#
#   bash tools/coverage.sh [--check]     --check: write nothing, status 1 if the page is not up to date

source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

case "${1:-}" in '' | --check) ;; *) die "usage: bash tools/coverage.sh [--check]" ;; esac
setup
build release flamec || exit 1
exec "$FLAME_PYTHON" tools/lib/coverage.py --flamec "$FLAME_BUILD/release/bin/flamec" docs/Coverage.md "$@"
