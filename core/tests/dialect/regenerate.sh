#!/bin/sh
# Writes table.txt: expressions, and what robfig/cron (Go) and croniter (Python) make of them. Needs go and python3 with
# venv. `=` in the last column: croniter says what robfig says.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet croniter==7.0.0
python3 generate.py > "$work/expressions"
(cd robfig && go run .) < "$work/expressions" > "$work/robfig"
"$work/venv/bin/python" croniter_ticks.py < "$work/expressions" > "$work/croniter"
paste -d '\n' "$work/robfig" "$work/croniter" | awk -F '|' '
  NR % 2 { robfig = $2; next }
  { print $1 "|" robfig "|" (robfig == $2 ? "=" : $2) }' > table.txt
