#!/bin/sh
# Builds the wheel, installs it alone into a fresh environment, and does the main job with it from a folder that
# is not the checkout: what is missing from the package shows here and nowhere else.
set -eu

checkout="$(cd "$(dirname "$0")/../.." && pwd)"
work="$(mktemp -d)"
lab_pid=""
cleanup() {
  if [ -n "$lab_pid" ]; then kill "$lab_pid" 2>/dev/null || true; wait "$lab_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT INT TERM

fail() { echo "wheel-test: $1" >&2; exit 1; }

echo "== build"
python -m build --wheel --no-isolation --outdir "$work/dist" "$checkout" >"$work/build.log" 2>&1 ||
  { cat "$work/build.log" >&2; fail "the wheel does not build"; }

echo "== install into a fresh environment"
python -m venv "$work/venv"
# The same versions that the suite ran with, the runtime packages only: pip takes them from the wheel's metadata.
sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' "$checkout/requirements-dev.lock" >"$work/constraints.txt"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --constraint "$work/constraints.txt" "$work"/dist/vmkit-*.whl

PATH="$work/venv/bin:/usr/bin:/bin"
export PATH
HOME="$work/home"
export HOME
mkdir -p "$HOME" "$work/elsewhere"
cd "$work/elsewhere"

echo "== from outside the checkout"
where="$(python -c 'import vmkit; print(vmkit.__file__)')"
case "$where" in "$work"/venv/*) ;; *) fail "imported $where, not the installed wheel" ;; esac
vmkit --version
vmkit template list -o name >templates.txt
for template in debian windows-server rook-block; do
  grep -q "$template" templates.txt || fail "the wheel carries no template $template"
done

vmkit lab up --kubeconfig "$work/kubeconfig" --speed 50 >lab.txt 2>&1 &
lab_pid=$!
tries=0
until [ -s "$work/kubeconfig" ]; do
  tries=$((tries + 1))
  [ "$tries" -le 100 ] || { cat lab.txt >&2; fail "the practice cluster did not come up"; }
  sleep 0.1
done
export KUBECONFIG="$work/kubeconfig"

vmkit create web-1 -t debian --wait --timeout 2m
vmkit stop web-1 --wait --timeout 2m
vmkit get web-1 -o json | grep -q Stopped || fail "web-1 did not stop"
vmkit delete web-1 --yes --delete-disks
echo "== the wheel does the main job"
