"""Recording rules: Prometheus takes them, and with them summaries are the same, and cheap."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.metrics.fleets import DAY, KNOWN, NOW, Boot, render_history
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.idle import PRESETS, decide_idle, find_preset, vmkit_policy
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.names import SIGNALS, Vocabulary
from vmkit.metrics.prometheus.rules import build_prometheus_rule, build_rules
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.metrics.summary import Summary, Unknown, Usage
from vmkit.vm.reference import VmRef

LOOKBACK = timedelta(days=3)
# Rules run at a time of their own: what lasts five minutes falls into their windows differently. These go on.
LASTING = (
    "forgotten",
    "nightly-batch",
    "rebooted-and-idle",
    "moved-and-idle",
    "editor",
    "without-network",
    "copier",
)
STAYS = {
    "rebooted-and-idle": (Boot("worker-1", 40 * DAY, 2 * DAY), Boot("worker-1", 2 * DAY - 900)),
    "moved-and-idle": (Boot("worker-1", 40 * DAY, 1.5 * DAY), Boot("worker-2", 1.5 * DAY)),
}
GUESTS = [replace(guest, stays=STAYS.get(guest.name, guest.stays)) for guest in KNOWN if guest.name in LASTING]
REFS = [VmRef("shop", guest.name) for guest in GUESTS]
MEASURES = {measure for preset in PRESETS for measure in find_preset(preset).measures}


class Counting(PrometheusClient):
    """Remembers what was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[str] = []

    def query(self, promql, at=None):
        self.asked.append(promql)
        return super().query(promql, at)


@dataclass(frozen=True)
class Twice:
    """The same history without rules and with them."""

    raw: Mapping[VmRef, Summary]
    recorded: Mapping[VmRef, Summary]
    asked: list[str]
    asked_for_longer: list[str]


@pytest.fixture(scope="module")
def twice() -> Iterator[Twice]:
    require_prometheus()
    with PrometheusServer(render_history([("shop", GUESTS)], days=3.2)) as server:

        def summarize(client: PrometheusClient, lookback: timedelta = LOOKBACK) -> Mapping[VmRef, Summary]:
            return PrometheusSource(client).summarize(REFS, measures=MEASURES, at=NOW, lookback=lookback)

        raw = summarize(PrometheusClient(server.url))
        rules = yaml.safe_dump(build_rules(interval=timedelta(minutes=5)))
        server.record(rules, NOW - LOOKBACK - timedelta(minutes=30), NOW)
        client = Counting(server.url)
        recorded = summarize(client)
        asked = list(client.asked)
        summarize(client, timedelta(days=4))
        yield Twice(raw, recorded, asked, client.asked[len(asked) :])


def test_rules_are_used_once_they_reach_back_far_enough(twice: Twice) -> None:
    assert any("max_over_time(vmkit:vmi_cpu_cores:rate5m{" in query for query in twice.asked)
    assert not any("[259200s:300s]" in query and "rate(" in query for query in twice.asked)


def test_rules_that_reach_back_too_little_are_left_alone(twice: Twice) -> None:
    assert not any("(vmkit:vmi_cpu_cores:rate5m{" in query for query in twice.asked_for_longer)
    assert any("rate(kubevirt_vmi_cpu_usage_seconds_total{" in query for query in twice.asked_for_longer)


def test_rules_change_no_number(twice: Twice) -> None:
    compared = 0
    for ref, raw in twice.raw.items():
        recorded = twice.recorded[ref]
        assert recorded.usage.keys() == raw.usage.keys()
        for signal, usage in raw.usage.items():
            other = recorded.usage[signal]
            assert type(other) is type(usage), (ref, signal, usage, other)
            if isinstance(usage, Usage) and isinstance(other, Usage):
                for measure, value in usage.values.items():
                    # An average of five-minute rates leaves out the last step before a window.
                    loose = 0.08 if measure.rate_window > timedelta(minutes=5) else 0.01
                    assert other.values[measure] == pytest.approx(value, rel=loose, abs=1e-6), (ref, measure)
                    compared += 1
                assert other.coverage == pytest.approx(usage.coverage, abs=0.01)
                assert other.resets == usage.resets
        assert not isinstance(recorded.migrations, Unknown)
        assert not isinstance(raw.migrations, Unknown)
        assert recorded.migrations.count == raw.migrations.count
        assert recorded.sessions == raw.sessions
    assert compared > 60


def test_rules_change_no_verdict(twice: Twice) -> None:
    policy = replace(vmkit_policy(), lookback=LOOKBACK)
    for guest, ref in zip(GUESTS, REFS, strict=True):
        verdicts = [
            decide_idle(replace(found[ref], logins=()), guest.facts("shop"), policy, NOW)
            for found in (twice.raw, twice.recorded)
        ]
        assert verdicts[0].state is verdicts[1].state, guest.name


def check(document: object, path: Path) -> None:
    require_prometheus()
    path.write_text(yaml.safe_dump(document))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("label", ["namespace", "exported_namespace"])
def test_prometheus_takes_the_rules(tmp_path: Path, label: str) -> None:
    every = frozenset(metrics[-1].name for metrics in SIGNALS.values())
    check(build_rules(), tmp_path / "new.yml")
    check(build_rules(Vocabulary(every, namespace=label)), tmp_path / "old.yml")
    rule = build_prometheus_rule("monitoring", labels={"release": "prometheus"})
    assert (rule["kind"], rule["metadata"]["namespace"]) == ("PrometheusRule", "monitoring")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == build_rules()
    assert json.loads(json.dumps(rule)) == rule


def test_the_window_of_a_rule_holds_one_scrape_more() -> None:
    rules = build_rules(interval=timedelta(seconds=15))["groups"][0]["rules"]
    assert {rule["record"]: rule["expr"] for rule in rules}["vmkit:vmi_cpu_cores:rate5m"] == (
        "sum by (namespace, name) (rate(kubevirt_vmi_cpu_usage_seconds_total[315s])) >= 0"
    )
