"""Recording rules that make the queries of a summary cheap: with them one shard is enough for a whole fleet.

They record a sample of each VM every five minutes. The source uses them by itself once they reach back over most
of the lookback, and asks for the raw series before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from vmkit.errors import UsageError
from vmkit.metrics.prometheus.names import MEMORY, OBSERVED, RUNNING, SIGNALS, Vocabulary
from vmkit.metrics.prometheus.queries import (
    CPU_SECONDS_RULE,
    MEMORY_RULES,
    OBSERVED_RULE,
    POD_RULE,
    RULES,
    RUNNING_RULE,
    STEP,
    build_rate,
    seconds,
)
from vmkit.metrics.summary import Signal
from vmkit.units import format_duration

GROUP: Final = "vmkit-usage"
_NEWEST: Final = frozenset({metrics[0].name for metrics in SIGNALS.values()} | {RUNNING, OBSERVED[0], *MEMORY})


def build_rules(
    vocabulary: Vocabulary | None = None,
    *,
    interval: timedelta | None = None,
    namespace_label: str | None = None,
) -> dict[str, Any]:
    """The rules as a file of Prometheus (``groups``) has them.

    Args:
        vocabulary: what the Prometheus calls things; None for the names of KubeVirt 1.5 and later, and a scraper
            that honours labels.
        interval: between two scrapes of virt-handler; None for what the vocabulary says.
        namespace_label: the label with a VM's namespace; None for what the vocabulary says.

    Raises:
        UsageError: the interval is none that such rules can work with.
    """
    words = vocabulary or Vocabulary(_NEWEST)
    if interval is not None:
        if not timedelta(seconds=1) <= interval <= STEP:
            raise UsageError(
                f"a scrape interval of {format_duration(interval)} makes no sense for rates over five minutes",
                hint="give 1s to 5m",
            )
        words = replace(words, interval=interval)
    if namespace_label is not None:
        words = replace(words, namespace=namespace_label)
    rules = [{"record": name, "expr": expression} for name, expression in _expressions(words)]
    return {"groups": [{"name": GROUP, "interval": seconds(STEP), "rules": rules}]}


def build_prometheus_rule(
    namespace: str,
    *,
    labels: Mapping[str, str] | None = None,
    vocabulary: Vocabulary | None = None,
    interval: timedelta | None = None,
    namespace_label: str | None = None,
) -> dict[str, Any]:
    """The rules as a PrometheusRule, which the Prometheus operator reads.

    Args:
        namespace: where it goes.
        labels: those by which the operator's Prometheus selects rules (``spec.ruleSelector``).
        vocabulary, interval, namespace_label: as for `build_rules`.
    """
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": GROUP,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "vmkit", **(labels or {})},
        },
        "spec": build_rules(vocabulary, interval=interval, namespace_label=namespace_label),
    }


def _expressions(words: Vocabulary) -> Iterator[tuple[str, str]]:
    for signal, rule in RULES.items():
        parts = (Signal.RECEIVE, Signal.TRANSMIT) if signal is Signal.NETWORK else (signal,)
        found = [words.find(part) for part in parts]
        selectors = [
            f"{metric.name}{{{metric.matchers}}}" if metric.matchers else metric.name for metric in found if metric
        ]
        if len(selectors) == len(parts):
            # What is no number is not recorded: it is missing later, as it should be.
            yield rule, f"{build_rate(words, signal, selectors, STEP)} >= 0"
    if RUNNING in words.metrics:
        running = f'{RUNNING}{{phase="running"}}'
        yield RUNNING_RULE, f"max by ({words.by}) ({running})"
        yield POD_RULE, f"max by ({words.by}, vmi_pod) ({running})"
    observed = words.first((*OBSERVED, RUNNING))
    if observed is not None:
        yield OBSERVED_RULE, f"max by ({words.by}) ({observed})"
    cpu = words.find(Signal.CPU)
    if cpu is not None:
        selector = f"{cpu.name}{{{cpu.matchers}}}" if cpu.matchers else cpu.name
        yield CPU_SECONDS_RULE, f"max by ({words.by}) ({selector})"
    for (rule, how), metric in zip(zip(MEMORY_RULES, ("max", "min"), strict=True), MEMORY, strict=True):
        if metric in words.metrics:
            yield rule, f"{how} by ({words.by}) ({metric})"
