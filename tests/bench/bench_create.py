"""Creating VMs: vmkit against a bare client with as many connections that sends the same requests.

    python -m tests.bench.bench_create [--vms 1000] [--rounds 3]

The practice cluster, its clock standing, runs in a process of its own, and so does each side; sides take turns,
each in a namespace of its own, and the best round of each counts. Printed are the client's CPU for each VM and the
rate, and their ratios. The bare client sends, with urllib3 and json and nothing else, the very requests that vmkit
sends.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CONNECTIONS = 16


def serve(pipe: Any) -> None:
    from vmkit.lab import Lab

    with Lab(frozen=True, seed=1, tls=False) as lab:
        pipe.send((lab.kubeconfig, lab.url, lab.token))
        pipe.recv()


def timed(work: Any) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def manifests(count: int, namespace: str) -> list[dict[str, Any]]:
    from vmkit.provision.catalog import Catalog
    from vmkit.provision.preparing import Preparer, read_requests
    from vmkit.provision.storage import StorageChoice

    preparer = Preparer({"auto": StorageChoice("rook-ceph-block")}, None)
    asked = read_requests(requests(count), Catalog(project=Path("/nonexistent")), default_namespace=namespace)
    return [manifest for item in asked for manifest in preparer.prepare(item).manifests]


def requests(count: int) -> list[Any]:
    from vmkit.provision.request import CreateRequest, expand_count

    answers = {"image": "docker://quay.io/containerdisks/debian:13", "run_strategy": "Halted"}
    return expand_count(CreateRequest("vm", "debian", answers=answers), count)


def vmkit_side(pipe: Any, kubeconfig: str, namespace: str, count: int) -> None:
    from vmkit.cluster import Session
    from vmkit.provision.catalog import Catalog
    from vmkit.provision.create import run_create
    from vmkit.provision.options import CreateOptions

    with Session.connect(kubeconfig=kubeconfig, namespace=namespace, connections=CONNECTIONS) as session:
        catalog = Catalog(project=Path("/nonexistent"))
        # A thousand disks are more than the practice cluster's Ceph would take by default.
        options = CreateOptions(concurrency=CONNECTIONS, ignore_storage_health=True)
        asked = requests(count)
        run_create(session, [requests(1)[0]], CreateOptions(dry_run="server"), catalog=catalog)

        def work() -> None:
            result = run_create(session, asked, options, catalog=catalog)
            assert result.counts == {"changed": count}, result.counts

        pipe.send(timed(work))


def bare_side(pipe: Any, url: str, token: str, namespace: str, count: int) -> None:
    import urllib3

    pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/apply-patch+yaml",
               "Accept": "application/json"}  # fmt: skip
    bodies = manifests(count, namespace)
    base = f"{url}/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines"

    def put(manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        answer = pool.request(
            "PATCH", f"{base}/{name}?fieldManager=vmkit&fieldValidation=Strict",
            body=json.dumps(manifest).encode(), headers=headers,
        )  # fmt: skip
        assert answer.status == 201, answer.data
        json.loads(answer.data)

    def work() -> None:
        json.loads(pool.request("GET", f"{base}?limit=500", headers=headers).data)
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(put, bodies))

    pipe.send(timed(work))


def run_in_process(target: Any, *arguments: Any) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments))
    process.start()
    there.close()
    try:
        found: dict[str, float] = here.recv()
    finally:
        process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    lab = context.Process(target=serve, args=(there,))
    lab.start()
    kubeconfig, url, token = here.recv()
    found: dict[str, list[dict[str, float]]] = {"vmkit": [], "bare": []}
    try:
        from vmkit.cluster import Session
        from vmkit.cluster.resources import NAMESPACES

        with Session.connect(kubeconfig=kubeconfig) as session:
            for number in range(options.rounds):
                for side in ("bare", "vmkit"):
                    namespace = f"{side}-{number}"
                    session.create(
                        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                    )
                    if side == "bare":
                        found[side].append(run_in_process(bare_side, url, token, namespace, options.vms))
                    else:
                        found[side].append(run_in_process(vmkit_side, kubeconfig, namespace, options.vms))
    finally:
        here.send(None)
        lab.join()
    cpu = {side: min(each["cpu"] for each in rounds) / options.vms * 1e6 for side, rounds in found.items()}
    rate = {side: options.vms / min(each["wall"] for each in rounds) for side, rounds in found.items()}
    for side in ("bare", "vmkit"):
        print(f"{side:6} {cpu[side]:8.0f} us CPU a VM {rate[side]:10.0f} VMs/s")
    print(f"CPU    {cpu['vmkit'] / cpu['bare']:8.2f}x (goal: at most 1.5)")
    print(f"rate   {rate['vmkit'] / rate['bare']:8.2f}x (goal: at least 0.85)")


if __name__ == "__main__":
    sys.exit(main())
