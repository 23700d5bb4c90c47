#!/bin/sh
# From an old VM's disk to a verdict. Everything happens in a temporary folder; nothing of the guest is run.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT INT TERM
say() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "A disk of an old web server (about a second; build-debian.sh makes a whole Debian)."
"${PYTHON:-python3}" "$here/build_small.py" "$work/old-web.qcow2"
cd "$work"

say "What is on it?"
run vmkit migrate inspect old-web.qcow2

say "The same as a document, for programs."
echo "$ vmkit migrate inspect old-web.qcow2 -o json >old-web.json"
vmkit migrate inspect old-web.qcow2 -o json >old-web.json
run head -n 8 old-web.json

say "What could its workloads become, and what stands in the way?"
run vmkit migrate assess old-web.json

say "Images to build and objects to apply, with nothing secret in them."
run vmkit migrate generate old-web.qcow2 --out artifacts --registry registry.example/old-web
run cat artifacts/notes/Containerfile
