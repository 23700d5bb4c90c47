"""How fast templates become manifests: VMs a second, each with a name, a number and answers of its own.

    python -m tests.bench.bench_render

Prints, for each template, the rate of rendering alone and of everything vmkit create does before it sends anything
(answers checked, adjusted, cloud-init moved, linted), and what share of that is left to the network at the goal of
1,000 VMs a second.
"""

from __future__ import annotations

import time
from pathlib import Path

from vmkit.provision.catalog import Catalog
from vmkit.provision.lint.run import required_examples
from vmkit.provision.preparing import Preparer, read_requests
from vmkit.provision.render import RenderContext, Renderer
from vmkit.provision.request import CreateRequest
from vmkit.provision.storage import StorageChoice

COUNT = 1_000
GOAL_PER_SECOND = 1_000
STORAGE = StorageChoice("rook-ceph-block", ("ReadWriteMany",), "Block")


def measure() -> None:
    catalog = Catalog(project=Path("/nonexistent"), user=Path("/nonexistent"))
    print(f"{'template':16} {'render':>12} {'prepare':>12} {'of goal':>9}")
    for name in catalog.names():
        template = catalog.find(name)
        answers = required_examples(template)
        renderer = Renderer(template)
        started = time.perf_counter()
        for index in range(COUNT):
            renderer.render(answers, RenderContext(f"vm-{index}", "bench", index, STORAGE))
        rendered = COUNT / (time.perf_counter() - started)
        requests = [CreateRequest(f"vm-{index}", name, answers=answers, index=index) for index in range(COUNT)]
        started = time.perf_counter()
        preparer = Preparer({"auto": STORAGE}, None)
        for asked in read_requests(requests, catalog, default_namespace="bench"):
            preparer.prepare(asked)
        prepared = COUNT / (time.perf_counter() - started)
        print(f"{name:16} {rendered:>10,.0f}/s {prepared:>10,.0f}/s {prepared / GOAL_PER_SECOND:>8.1f}x")


if __name__ == "__main__":
    measure()
