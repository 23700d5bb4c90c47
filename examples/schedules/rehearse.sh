#!/bin/sh
# Rehearses the week of Christmas on a practice cluster: what would be done, the week in seconds, and what is installed
# afterwards.
# Nothing here touches a real cluster: every command below uses the kubeconfig that `vmkit lab up` writes.
set -eu

here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
lab_pid=""
cleanup() {
  if [ -n "$lab_pid" ]; then kill "$lab_pid" 2>/dev/null || true; wait "$lab_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT INT TERM

say() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "A practice cluster with a fleet, in the morning of Monday 21 December 2026."
vmkit lab up --kubeconfig "$work/kubeconfig" --fleet 30 --seed 1 --start 2026-12-21T07:00:00+01:00 >"$work/lab.log" 2>&1 &
lab_pid=$!
tries=0
until [ -s "$work/kubeconfig" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 600 ] || ! kill -0 "$lab_pid" 2>/dev/null; then
    cat "$work/lab.log" >&2; exit 1
  fi
  sleep 0.1
done
export KUBECONFIG="$work/kubeconfig"

say "What does a schedule say? Christmas is in the calendar."
run vmkit schedule explain "Mon-Fri 08:00-18:00 Europe/Berlin except calendar(company-holidays)" \
  --calendar "company-holidays=$here/company-holidays.txt" --at 2026-12-21T07:00:00+01:00 --next 8

say "What would a week of it come to? Nothing is changed. (One VM of this fleet is broken: it is left alone.)"
run vmkit schedule run -A --config "$here/schedules.toml" --simulate 7d

say "The week itself, in seconds."
# The broken VM is told by the exit code as well.
run vmkit lab clock --kubeconfig "$work/kubeconfig" --run 7d --config "$here/schedules.toml" || [ $? -eq 1 ]

say "What happened to one of them?"
run vmkit history web-1 -n shop-dev

say "Convinced: the manifests of the controller."
run vmkit install schedule --image registry.example/vmkit:1.0 --controller >"$work/install.yaml"
grep '^kind:' "$work/install.yaml"
