"""What judging VMs costs beside what Prometheus itself takes.

    python tests/bench/bench_idle.py

With recording rules: 10,000 VMs judged (bound 10 s and 300 MB beside Prometheus). What vmkit does depends on the
number of VMs and not on how far their history reaches back, so the history here is a day long and stands for
fourteen; what Prometheus takes for it is printed, and does depend on it.

Without rules: 40 VMs over 14 days of five-minute samples; the time of all may be a tenth above that of Prometheus
alone (bound 1.1 where Prometheus takes more than a second). The best of several runs counts on both sides.

What is beside Prometheus is the CPU time of this process. Prometheus's own time is that of the same queries, sent
again as they were, with nothing done about the answers.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.metrics.fleets import NOW, Guest, render_history
from tests.real.prometheus import PrometheusServer
from vmkit.idle import IdlePolicy, State, decide_idle, vmkit_policy
from vmkit.metrics.prometheus.client import Answer, PrometheusClient
from vmkit.metrics.prometheus.queries import (
    CPU_SECONDS_RULE,
    MEMORY_RULES,
    OBSERVED_RULE,
    POD_RULE,
    RULES,
    RUNNING_RULE,
)
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.metrics.summary import Signal
from vmkit.vm.reference import VmRef

VMS = 10_000
BOUND_SECONDS = 10.0
BOUND_MEGABYTES = 300.0
BOUND_RATIO = 1.1
RAW_VMS = 40
RUNS = 2
DAY = timedelta(days=1)


class Remembering(PrometheusClient):
    """Knows what was asked, to ask it again."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout_seconds=600)
        self.asked: list[tuple[str, datetime | None]] = []

    def query(self, promql: str, at: datetime | None = None) -> Answer:
        self.asked.append((promql, at))
        return super().query(promql, at)

    def replay(self) -> float:
        """Asks all again, three at a time as the source does, and throws the answers away unread."""
        from urllib.parse import urlencode

        def post(asked: tuple[str, datetime | None]) -> None:
            form = {"query": asked[0]} | ({"time": f"{asked[1].timestamp():.3f}"} if asked[1] is not None else {})
            self._door.post("/api/v1/query", urlencode(form))

        begun = time.perf_counter()
        few = [asked for asked in self.asked if len(asked[0]) < 2000 and '"vmkit", "m0"' not in asked[0]][:5]
        for asked in few:
            post(asked)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(post, [asked for asked in self.asked if asked not in few]))
        return time.perf_counter() - begun


def recorded_history(count: int, days: float) -> Iterator[str]:
    """What the rules would have recorded of idle VMs: a few levels, a sample every five minutes."""
    now = int(NOW.timestamp())
    times = range(now - int(days * 86400), now + 1, 300)
    levels = {
        OBSERVED_RULE: "1", RUNNING_RULE: "1", CPU_SECONDS_RULE: "500", RULES[Signal.CPU]: "0.01",
        **{RULES[signal]: "200" for signal in Signal if signal not in (Signal.CPU, Signal.GUEST_LOAD)},
        MEMORY_RULES[0]: "4e9", MEMORY_RULES[1]: "3e9",
    }  # fmt: skip
    for name, value in levels.items():
        yield f"# TYPE {name} gauge\n"
        tail = "".join(f"\x00 {value} {at}\n" for at in times)
        for number in range(count):
            yield tail.replace("\x00", f'{name}{{namespace="shop",name="vm-{number}"}}')
    yield f"# TYPE {POD_RULE} gauge\n"
    tail = "".join(f"\x00 1 {at}\n" for at in times)
    for number in range(count):
        yield tail.replace(
            "\x00", f'{POD_RULE}{{namespace="shop",name="vm-{number}",vmi_pod="virt-launcher-{number}"}}'
        )
    # The newest samples of the raw series: that they go on is looked at as well.
    for family, kind, extra in (
        ("kubevirt_vmi_cpu_usage_seconds", "counter", ""),
        ("kubevirt_vmi_network_receive_bytes", "counter", ',interface="default"'),
        ("kubevirt_vmi_network_transmit_bytes", "counter", ',interface="default"'),
        ("kubevirt_vmi_storage_read_traffic_bytes", "counter", ',drive="vda"'),
        ("kubevirt_vmi_storage_write_traffic_bytes", "counter", ',drive="vda"'),
        ("kubevirt_vmi_memory_available_bytes", "gauge", ""),
        ("kubevirt_vmi_memory_usable_bytes", "gauge", ""),
    ):
        yield f"# TYPE {family} {kind}\n"
        suffix = "_total" if kind == "counter" else ""
        for number in range(count):
            head = f'{family}{suffix}{{namespace="shop",name="vm-{number}",node="n"{extra}}}'
            yield "".join(f"{head} 500 {at}\n" for at in (now - 300, now))
    yield "# TYPE kubevirt_vmi_info gauge\n"
    for number in range(count):
        labels = f'namespace="shop",name="vm-{number}",phase="running",vmi_pod="virt-launcher-{number}"'
        yield f"kubevirt_vmi_info{{{labels}}} 1 {now}\n"
    yield "# TYPE up gauge\n"
    yield "".join(f'up{{pod="virt-api-1"}} 1 {at}\n' for at in times)
    yield "# EOF\n"


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _judge(client: Remembering, count: int, policy: IdlePolicy) -> tuple[float, int]:
    guests = {VmRef("shop", f"vm-{number}"): Guest(f"vm-{number}", True) for number in range(count)}
    facts = {ref: guest.facts("shop") for ref, guest in guests.items()}
    begun = time.perf_counter()
    found = PrometheusSource(client).summarize(guests, measures=policy.measures, at=NOW, lookback=policy.lookback)
    verdicts = [decide_idle(replace(found[ref], logins=()), facts[ref], policy, NOW) for ref in guests]
    spent = time.perf_counter() - begun
    return spent, sum(verdict.state is State.IDLE for verdict in verdicts)


@dataclass(frozen=True)
class Measured:
    """Seconds of all, of this process's CPU, and of Prometheus alone; how many are idle; how many queries."""

    spent: float
    own: float
    alone: float
    idle: int
    queries: int


def _compare(url: str, count: int, policy: IdlePolicy, *, runs: int) -> Measured:
    _judge(Remembering(url), count, policy)  # so that both find the same pages in memory
    best, alone, own = float("inf"), float("inf"), float("inf")
    for _ in range(runs):
        client = Remembering(url)
        begun = time.process_time()
        spent, idle = _judge(client, count, policy)
        own = min(own, time.process_time() - begun)
        best, alone = min(best, spent), min(alone, client.replay())
    return Measured(best, own, alone, idle, len(client.asked))


def main() -> int:
    """Prints what was measured; 1 if it is beyond its bound."""
    good = True
    policy = replace(vmkit_policy(), lookback=DAY, minimum_running=DAY / 2)
    with PrometheusServer(recorded_history(VMS, 1.02), arguments=["--query.timeout=10m"]) as server:
        before = _peak_megabytes()
        found = _compare(server.url, VMS, policy, runs=1)
        peak = _peak_megabytes()
        assert found.idle == VMS, f"all are idle, and {found.idle} were found"
        good &= found.own < BOUND_SECONDS and peak < BOUND_MEGABYTES
        print(
            f"{found.own:8.2f} s   beside Prometheus for {VMS} VMs with recording rules (bound {BOUND_SECONDS:g})"
        )
        print(f"{found.alone:8.2f} s   Prometheus itself, for a day; {found.queries} queries")
        print(f"{peak:8.0f} MB  at most, {before:.0f} of them before (bound {BOUND_MEGABYTES:g})")
    guests = [Guest(f"vm-{number}", True) for number in range(RAW_VMS)]
    history = render_history([("shop", guests)], days=14.1)
    with PrometheusServer(history, arguments=["--query.timeout=10m"]) as server:
        found = _compare(server.url, RAW_VMS, vmkit_policy(), runs=RUNS)
        assert found.idle == RAW_VMS, f"all are idle, and {found.idle} were found"
        ratio = found.spent / found.alone
        good &= ratio < BOUND_RATIO or found.alone < 1
        print(
            f"{ratio:8.2f} ×   Prometheus's own {found.alone:.1f} s for {RAW_VMS} VMs over 14 days without rules",
            end=" ",
        )
        print(f"(bound {BOUND_RATIO:g}; {found.queries} queries)")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
