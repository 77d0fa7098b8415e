#!/usr/bin/env bash
# Writes docs/reference/: a page for every family of ops, generated from its definitions.
#
#   bash tools/reference.sh [--check]     --check: write nothing, status 1 if a page is not up to date

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

case "${1:-}" in '' | --check) ;; *) die "usage: bash tools/reference.sh [--check]" ;; esac
setup
exec "$FLAME_PYTHON" tools/lib/reference.py --tblgen "$FLAME_LLVM/bin/llvm-tblgen" "$@"
