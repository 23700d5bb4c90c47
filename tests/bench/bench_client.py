"""How much vmkit adds to what has to be done anyway: listing VMs, and stopping and starting them.

    python -m tests.bench.bench_client [--vms 10000] [--power 1000] [--rounds 3]

Each side runs in a process of its own against one practice cluster in a third, turn by turn; printed are ratios
of the best rounds. The bare side is a careful script: urllib3 with as many connections, and the json module.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

CONNECTIONS = 16
PAGE = 500
ROOT = Path(__file__).resolve().parents[2]


def _manifest(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": {"team": f"team-{hash(name) % 20}", "app": "bench"}},
        "spec": {
            "runStrategy": "Manual",
            "template": {
                "metadata": {"labels": {"app": "bench"}},
                "spec": {
                    "domain": {
                        "cpu": {"cores": 2},
                        "memory": {"guest": "64Mi"},
                        "devices": {
                            "disks": [{"name": "root", "disk": {"bus": "virtio"}}],
                            "interfaces": [{"name": "default", "masquerade": {}}],
                        },
                    },
                    "networks": [{"name": "default", "pod": {}}],
                    "volumes": [
                        {"name": "root", "containerDisk": {"image": "quay.io/containerdisks/debian:12"}},
                        {"name": "init", "cloudInitNoCloud": {"userData": "#cloud-config\nhostname: bench\n"}},
                    ],
                },
            },
        },
    }


# --- the practice cluster, in a process of its own ------------------------------------------------------------


def serve(kubeconfig: str, vms: int, power: int) -> None:
    """Runs a practice cluster with so many VMs; each line on stdin moves its clock on, until stdin ends.

    The clock stands otherwise, so that what is measured meets a cluster that does nothing else.
    """
    from vmkit.cluster import Session
    from vmkit.cluster.resources import NAMESPACES, VIRTUAL_MACHINES
    from vmkit.lab import Lab

    with (
        Lab(kubeconfig=kubeconfig, tls=False, frozen=True, nodes=40) as lab,
        Session.connect(kubeconfig=lab.kubeconfig) as session,
    ):
        for namespace, count in (("fleet", vms), ("power", power)):
            document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            session.create(NAMESPACES, document)
            for number in range(count):
                session.create(VIRTUAL_MACHINES, _manifest(f"vm-{number:05}"), namespace)
        lab.advance(timedelta(minutes=10))
        print("ready", flush=True)
        for _ in sys.stdin:
            lab.advance(timedelta(minutes=10))
            print("ready", flush=True)


# --- the two sides ----------------------------------------------------------------------------------------------


def measure(work: Callable[[], int]) -> dict[str, float]:
    """Wall and CPU seconds of the work, its count, and the process's peak memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "count": count,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def vmkit_side(kubeconfig: str, what: str) -> dict[str, float]:
    from vmkit.cluster import Session
    from vmkit.cluster.resources import VIRTUAL_MACHINES
    from vmkit.power import PowerOptions, Selection, Verb, run_power
    from vmkit.vm.state import read_vm

    with Session.connect(kubeconfig=kubeconfig, connections=CONNECTIONS) as session:
        session.list_page(VIRTUAL_MACHINES, "default")
        if what == "list":
            views: list[Any] = []

            def read() -> int:
                views.extend(
                    read_vm(document) for document in session.list(VIRTUAL_MACHINES, "fleet", page_size=PAGE)
                )
                return len(views)

            return measure(read)

        def act() -> int:
            result = run_power(
                session,
                Verb(what),
                Selection(namespace="power", everything=True),
                PowerOptions(concurrency=CONNECTIONS),
            )
            assert result.ok, [outcome for outcome in result.outcomes if not outcome.ok][:3]
            return result.counts.get("changed", 0)

        return measure(act)


def bare_side(kubeconfig: str, what: str) -> dict[str, float]:
    import urllib3
    import yaml

    config = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
    server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False)
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    base = f"{server}/apis/kubevirt.io/v1/namespaces"
    verbs = f"{server}/apis/subresources.kubevirt.io/v1/namespaces"
    pool.request("GET", f"{base}/default/virtualmachines", headers=headers)

    def read(namespace: str) -> list[Any]:
        items: list[Any] = []
        token = ""
        while True:
            url = f"{base}/{namespace}/virtualmachines?limit={PAGE}" + (f"&continue={token}" if token else "")
            page = json.loads(pool.request("GET", url, headers=headers).data)
            items += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return items

    def read_all() -> int:
        # Pages are dropped as they come, as vmkit drops them.
        count, token = 0, ""
        while True:
            url = f"{base}/fleet/virtualmachines?limit={PAGE}" + (f"&continue={token}" if token else "")
            page = json.loads(pool.request("GET", url, headers=headers).data)
            count += len(page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                return count

    if what == "list":
        return measure(read_all)

    sending = {**headers, "Accept": "*/*", "Content-Type": "application/json"}

    def put(name: str) -> int:
        url = f"{verbs}/power/virtualmachines/{name}/{what}"
        return pool.request("PUT", url, body=b"{}", headers=sending).status

    def act() -> int:
        names = [item["metadata"]["name"] for item in read("power")]
        with ThreadPoolExecutor(CONNECTIONS) as workers:
            return sum(200 <= status < 300 for status in workers.map(put, names))

    return measure(act)


# --- turn by turn -----------------------------------------------------------------------------------------------


def run_side(kubeconfig: str, side: str, what: str) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "tests.bench.bench_client",
        "--side",
        side,
        "--what",
        what,
        "--kubeconfig",
        kubeconfig,
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return dict(json.loads(output))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--power", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["vmkit", "bare", "serve"])
    parser.add_argument("--what", choices=["list", "start", "stop"])
    parser.add_argument("--kubeconfig", default=f"/tmp/vmkit-bench-{os.getpid()}")
    options = parser.parse_args()
    if options.side == "serve":
        serve(options.kubeconfig, options.vms, options.power)
        return
    if options.side:
        side = vmkit_side if options.side == "vmkit" else bare_side
        print(json.dumps(side(options.kubeconfig, options.what)))
        return
    compare(options)


def compare(options: argparse.Namespace) -> None:
    kubeconfig = options.kubeconfig
    command = [sys.executable, "-m", "tests.bench.bench_client", "--side", "serve", "--kubeconfig", kubeconfig,
               "--vms", str(options.vms), "--power", str(options.power)]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    guard = threading.Timer(1800, server.kill)
    guard.daemon = True
    guard.start()

    def until_ready() -> None:
        assert server.stdout is not None
        if server.stdout.readline().strip() != "ready":
            raise SystemExit("the practice cluster is gone")

    try:
        until_ready()
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for side in ("bare", "vmkit"):
                found.setdefault((side, "list"), []).append(run_side(kubeconfig, side, "list"))
        for turn in range(options.rounds):
            for side in ("bare", "vmkit") if turn % 2 else ("vmkit", "bare"):
                for verb in ("start", "stop"):
                    found.setdefault((side, verb), []).append(run_side(kubeconfig, side, verb))
                    server.stdin.write("on\n")
                    server.stdin.flush()
                    until_ready()
        report(found, options)
    finally:
        server.stdin.close()
        server.wait(60)
        Path(kubeconfig).unlink(missing_ok=True)


def best(rounds: list[dict[str, float]], key: str) -> float:
    return min(one[key] for one in rounds)


def report(found: dict[tuple[str, str], list[dict[str, float]]], options: argparse.Namespace) -> None:
    mine, bare = found["vmkit", "list"], found["bare", "list"]
    assert {one["count"] for one in mine + bare} == {options.vms}
    print(
        f"list {options.vms} VMs: {best(mine, 'wall'):.2f} s, {best(mine, 'wall') / best(bare, 'wall'):.2f}x "
        f"fetching and decoding the same pages (goal 1.5x); CPU {best(mine, 'cpu') / best(bare, 'cpu'):.2f}x; "
        f"peak memory {max(one['memory_mb'] for one in mine):.0f} MB (goal 150), bare "
        f"{max(one['memory_mb'] for one in bare):.0f} MB"
    )
    for verb in ("start", "stop"):
        mine, bare = found["vmkit", verb], found["bare", verb]
        assert {one["count"] for one in mine + bare} == {options.power}, (mine, bare)
        rate = best(bare, "wall") / best(mine, "wall")
        print(
            f"{verb} {options.power} VMs: {options.power / best(mine, 'wall'):.0f} VMs/s, {rate:.2f} of the bare "
            f"client's rate (goal 0.85); client CPU for each VM {best(mine, 'cpu') / options.power * 1e6:.0f} us, "
            f"{best(mine, 'cpu') / best(bare, 'cpu'):.2f}x (goal 1.5x)"
        )


if __name__ == "__main__":
    main()
