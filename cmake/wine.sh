#!/bin/sh
# wine.sh PREFIX PROGRAM ARGUMENT…: a Windows program under Wine, in a prefix of its own, made when it is missing.
# Quiet: no messages of Wine's own, no windows, no dialogue of a debugger.
# The output goes by way of a file: Wine's servers, which outlive the program for some seconds, would keep a pipe open.
prefix=$1
shift
export WINEPREFIX="$prefix" WINEDEBUG="${WINEDEBUG:--all}" DISPLAY=
export WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe="
# Debian has wine64 off the path; its wine is a script that asks for the 32-bit one.
wine=/usr/lib/wine/wine64
[ -x "$wine" ] || wine=$(command -v wine64 || command -v wine)
if [ ! -f "$prefix/turnkey-ready" ]; then
  mkdir -p "$prefix"
  (
    flock 9
    [ -f "$prefix/turnkey-ready" ] || {
      "$wine" wineboot -i </dev/null >/dev/null 2>&1 9>&-
      touch "$prefix/turnkey-ready"
    }
  ) 9>"$prefix.lock"
fi
out=$(mktemp)
err=$(mktemp)
trap 'rm -f "$out" "$err"' EXIT
"$wine" "$@" </dev/null >"$out" 2>"$err"
code=$?
cat "$out"
cat "$err" >&2
exit $code
