#!/bin/sh
# From an old VM's disk to a verdict and a proof. Everything happens in a temporary folder.
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

if ! "${PYTHON:-python3}" -c 'import componentize_py, wasmtime' 2>/dev/null; then
  say "pip install 'vmkit[wasm]' builds the greeter's component, and proves it."
  exit 0
fi

say "The greeter as a wasm component: Python and the application in one file."
run vmkit migrate build artifacts/greeter/wasm

say "Proof: the component gets the same requests as the VM. Here the VM is the greeter's program on loopback;"
echo "# with a disk that boots (build_debian.py) it is: vmkit migrate verify artifacts --source disk.qcow2 --disk data.qcow2"
cat >requests.yaml <<'REQUESTS'
requests:
- {service: greeter, path: "/"}
- {service: greeter, path: "/?name=Ada"}
- {service: greeter, path: "/?name=M%C3%BCller"}
REQUESTS
"${PYTHON:-python3}" -B "$here/serve_greeter.py" port &
served=$!
trap 'kill "$served" 2>/dev/null; rm -rf "$work"' EXIT INT TERM
while ! [ -s port ]; do kill -0 "$served"; sleep 0.1; done
run vmkit migrate verify artifacts --service greeter --runner wasm --requests requests.yaml --vm-url "http://127.0.0.1:$(cat port)"

say "What was a candidate is proven."
run vmkit migrate assess old-web.json --proof artifacts/proof.json --no-findings
