#!/bin/sh
# The main job on a practice cluster: bring it up, create VMs from templates, stop, start, look, clean up.
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

say "A practice cluster on this machine; its clock runs 30 times as fast as yours."
vmkit lab up --kubeconfig "$work/kubeconfig" --fleet 12 --speed 30 >"$work/lab.log" 2>&1 &
lab_pid=$!
tries=0
until [ -s "$work/kubeconfig" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 100 ] || ! kill -0 "$lab_pid" 2>/dev/null; then
    cat "$work/lab.log" >&2; exit 1
  fi
  sleep 0.1
done
export KUBECONFIG="$work/kubeconfig"

say "What can be created?"
run vmkit template list

say "A Debian VM with four cores and a data disk. The storage is chosen, and vmkit says why."
run vmkit create web-1 -t debian --set cpu=4 --disk data=20Gi --wait --timeout 3m

say "Three more, from one file."
run vmkit create -f "$here/fleet.yaml" --wait --timeout 3m

say "Asking again changes nothing."
run vmkit create web-1 -t debian --set cpu=4 --disk data=20Gi

say "What is there?"
run vmkit get

say "Stop two, see it, start them again."
run vmkit stop web-1 build-1 --wait --timeout 3m
run vmkit get web-1 build-1
run vmkit start web-1 build-1 --wait --timeout 3m
run vmkit describe web-1

say "The practice cluster came with a fleet of its own."
run vmkit get -A

say "Clean up. Disks outlive their VM unless you say otherwise, as here."
run vmkit delete web-1 --yes --delete-disks

say "Done. Bring up one of your own: vmkit lab up"
