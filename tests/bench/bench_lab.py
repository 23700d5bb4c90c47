"""How large and how quick the practice cluster is: ``python -m tests.bench.bench_lab [VMS]``.

Prints start-up, creations a second over HTTP, the time of one whole list, and the memory of the serving process
(with every VM's instance and pod).
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

_CONNECTIONS = 8
_VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
_SERVE = """
import resource, sys
from vmkit.lab import Lab
with Lab(tls=False, nodes=64, kubeconfig=sys.argv[1]) as lab:
    print(lab.url, lab.token, flush=True)
    lab.wait()
"""


def build_vm(index: int) -> dict[str, object]:
    """A small VM that runs."""
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": f"vm-{index:05}", "labels": {"app": "bench"}},
        "spec": {
            "runStrategy": "Always",
            "template": {
                "metadata": {"labels": {"app": "bench"}},
                "spec": {
                    "domain": {
                        "devices": {
                            "disks": [{"name": "root", "disk": {"bus": "virtio"}}],
                            "interfaces": [{"name": "default", "masquerade": {}}],
                        },
                        "memory": {"guest": "64Mi"},
                    },
                    "networks": [{"name": "default", "pod": {}}],
                    "volumes": [{"name": "root", "containerDisk": {"image": "registry.example/disk:1"}}],
                },
            },
        },
    }


class Bench:
    """A served lab and plain connections to it."""

    def __init__(self, url: str, token: str) -> None:
        self._host = urlsplit(url).netloc
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, timeout=120)

    def send(self, connection: http.client.HTTPConnection, method: str, path: str, body: object = None) -> bytes:
        connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        reply = connection.getresponse()
        data = reply.read()
        if reply.status >= 300:
            raise SystemExit(f"{method} {path}: {reply.status} {data[:300]!r}")
        return data

    def create(self, count: int) -> float:
        """Creations a second, over several connections."""

        def work(worker: int) -> None:
            connection = self.connect()
            for index in range(worker, count, _CONNECTIONS):
                self.send(connection, "POST", _VMS, build_vm(index))
            connection.close()

        started = time.perf_counter()
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(work, range(_CONNECTIONS)))
        return count / (time.perf_counter() - started)


def resident_bytes(pid: int) -> int:
    """The memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Runs it and prints."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        command = [sys.executable, "-c", _SERVE, f"{scratch}/kubeconfig"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url, token = server.stdout.readline().split()
        print(f"start-up with a fresh interpreter   {time.perf_counter() - started:8.2f} s")
        bench = Bench(url, token)
        connection = bench.connect()
        try:
            print(f"VMs created over HTTP               {bench.create(count):8.0f} /s")
            wait_until_running(bench, connection, count)
            started = time.perf_counter()
            data = bench.send(connection, "GET", "/apis/kubevirt.io/v1/virtualmachines")
            took = time.perf_counter() - started
            print(f"list of {count} VMs ({len(data) / 1e6:.0f} MB)           {took:8.2f} s")
            print(f"memory with instances and pods      {resident_bytes(server.pid) / 1e6:8.0f} MB")
        finally:
            bench.send(connection, "POST", "/vmkit.io/lab/down")
            connection.close()
            server.wait(30)


def wait_until_running(bench: Bench, connection: http.client.HTTPConnection, count: int) -> None:
    """Moves the lab's clock until every instance runs."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        bench.send(connection, "POST", "/vmkit.io/lab/clock", {"advance_seconds": 120})
        data = bench.send(connection, "GET", "/apis/kubevirt.io/v1/virtualmachineinstances")
        running = data.count(b'"phase":"Running"')
        if running >= count:
            return
    raise SystemExit("not every instance came to run")


if __name__ == "__main__":
    main()
