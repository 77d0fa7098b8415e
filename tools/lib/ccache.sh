#!/bin/sh
# The compiler's launcher: ccache, and for precompiled headers without the one that was there. GCC's preprocessor would take that in place of
# the headers, so that ccache looked the new one up by what the headers once were, and could find an older one.
#   usage: ccache.sh CCACHE COMPILER ARGUMENT...
last=
for argument; do
  case "$last $argument" in
  -o\ *.[gp]ch) rm -f "$argument" ;;
  esac
  last=$argument
done
# Of files with precompiled headers ccache keeps results if it may take macros' definitions and times from those.
CCACHE_SLOPPINESS=pch_defines,time_macros exec "$@"
