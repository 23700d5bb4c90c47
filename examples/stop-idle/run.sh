#!/bin/sh
# Finds VMs that nobody uses on a practice cluster, and stops them: look, note, wait a day, stop, count.
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

say "A practice cluster with a fleet that has been used for weeks."
vmkit lab up --kubeconfig "$work/kubeconfig" --fleet 30 --seed 1 --start 2026-03-02T08:00:00+01:00 >"$work/lab.log" 2>&1 &
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

say "What is idle? Nothing is changed."
run vmkit stop-idle -n shop-dev --all --dry-run -o table

say "Why? Every criterion, with its number and its limit."
run vmkit stop-idle explain dev-1 -n shop-dev

say "Note it. People are told, and have a day to object."
run vmkit stop-idle -n shop-dev --all --yes

say "They may: vmkit stop-idle snooze dev-1 -n shop-dev --for 7d. A day later nobody has."
run vmkit lab clock --kubeconfig "$work/kubeconfig" +25h
run vmkit stop-idle -n shop-dev --all --yes

say "An hour later: what did that return, at the rates of rates.toml?"
run vmkit lab clock --kubeconfig "$work/kubeconfig" +1h
run vmkit ledger --rates "$here/rates.toml"

say "Somebody needs it after all."
run vmkit start dev-1 -n shop-dev
