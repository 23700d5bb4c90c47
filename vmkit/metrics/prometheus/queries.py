"""The PromQL that a summary is made of. Text in, text out.

Each query answers for every VM of a shard at once, and several numbers at a time: its parts are joined with
``or``, and told apart by a label of their own. Time is looked at in steps of five minutes, on whole multiples of
them: a step counts as covered where the rate over the rate window before it is known.

A rate is taken over the rate window and one scrape interval more. Windows that only touch would leave out what
happens between the last scrape of one and the first of the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from vmkit.metrics.prometheus.names import (
    LAST_SESSION,
    MEMORY,
    MIGRATION,
    OBSERVED,
    OPEN_SESSIONS,
    RUNNING,
    TELLS_MIGRATIONS,
    Metric,
    Vocabulary,
)
from vmkit.metrics.summary import Measure, Signal
from vmkit.vm.reference import VmRef

STEP: Final = timedelta(minutes=5)
"""Between two looks at the past."""
TAG: Final = "vmkit"
_DAY: Final = timedelta(days=1)
RECENT: Final = 2 * _DAY
"""How far back a change of pods is looked for."""

RULES: Final[Mapping[Signal, str]] = {
    Signal.CPU: "vmkit:vmi_cpu_cores:rate5m",
    Signal.RECEIVE: "vmkit:vmi_receive_bytes:rate5m",
    Signal.TRANSMIT: "vmkit:vmi_transmit_bytes:rate5m",
    Signal.NETWORK: "vmkit:vmi_network_bytes:rate5m",
    Signal.DISK_READ: "vmkit:vmi_disk_read_bytes:rate5m",
    Signal.DISK_WRITE: "vmkit:vmi_disk_write_bytes:rate5m",
    Signal.GUEST_LOAD: "vmkit:vmi_guest_load:max",
}
"""What vmkit's recording rules record of each signal, a sample every `STEP`."""
RUNNING_RULE: Final = "vmkit:vmi_running:max"
OBSERVED_RULE: Final = "vmkit:vm_observed:max"
CPU_SECONDS_RULE: Final = "vmkit:vmi_cpu_seconds:max"
POD_RULE: Final = "vmkit:vmi_pod:max"
MEMORY_RULES: Final = ("vmkit:vmi_memory_available_bytes:max", "vmkit:vmi_memory_usable_bytes:min")
EVIDENCE_OF_RULES: Final = (OBSERVED_RULE, RULES[Signal.CPU], POD_RULE)


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and the label in which its answer names a VM."""

    promql: str
    name: str
    measures: Mapping[str, Measure] = field(default_factory=dict)


def seconds(stretch: timedelta) -> str:
    """A stretch of time as PromQL writes it."""
    return f"{round(stretch.total_seconds())}s"


def find_step(measure: Measure) -> timedelta:
    """How densely a measure's rates are taken: every five minutes, or a quarter of a longer rate window."""
    quarter = measure.rate_window / 4
    return max(STEP, quarter // STEP * STEP)


def tag(expression: str, name: str) -> str:
    """A part of a query, told apart by a label."""
    return f'label_replace({expression}, "{TAG}", "{name}", "", "")'


def _sources(vocabulary: Vocabulary, signal: Signal) -> tuple[Metric, ...]:
    parts = (Signal.RECEIVE, Signal.TRANSMIT) if signal is Signal.NETWORK else (signal,)
    found = [vocabulary.find(part) for part in parts]
    return tuple(metric for metric in found if metric is not None) if all(found) else ()


def build_signal_query(
    vocabulary: Vocabulary,
    signal: Signal,
    measures: Collection[Measure],
    refs: Collection[VmRef],
    *,
    lookback: timedelta,
) -> Query | None:
    """The measures of one signal; how many steps have a rate ("count"); the time of the newest sample ("now").

    Without rules that of a sample older than Prometheus looks back as well ("day"). None where there is no metric.
    """
    sources = _sources(vocabulary, signal)
    if not sources:
        return None
    ordered = {f"m{index}": measure for index, measure in enumerate(sorted(measures, key=str))}
    selectors = [vocabulary.select(metric.name, refs, matchers=metric.matchers) for metric in sources]
    rule = RULES[signal]
    recorded = vocabulary.select(rule, refs) if vocabulary.rules else ""
    parts = [
        tag(_measure(vocabulary, measure, selectors, recorded=recorded, lookback=lookback), name)
        for name, measure in ordered.items()
    ]
    if recorded:
        parts.append(tag(f"count_over_time({recorded}[{seconds(lookback)}])", "count"))
    else:
        rate = build_rate(vocabulary, signal, selectors, STEP)
        parts.append(tag(f"count_over_time(({rate} >= 0)[{seconds(lookback)}:{seconds(STEP)}])", "count"))
    newest = _newest(vocabulary, selectors)
    parts.append(tag(newest, "now"))
    if not recorded:
        parts.append(tag(f"max_over_time(({newest})[{seconds(min(_DAY, lookback))}:{seconds(STEP)}])", "day"))
    return Query(" or ".join(parts), vocabulary.name, ordered)


def build_rate(vocabulary: Vocabulary, signal: Signal, selectors: Collection[str], window: timedelta) -> str:
    """A signal of each VM: its rate over a window, all its interfaces or drives together; or its level."""
    if signal is Signal.GUEST_LOAD:
        return f"max by ({vocabulary.by}) ({next(iter(selectors))})"
    span = seconds(window + vocabulary.interval)
    rates = [f"sum by ({vocabulary.by}) (rate({selector}[{span}]))" for selector in selectors]
    return rates[0] if len(rates) == 1 else f"({' + '.join(rates)})"


def _measure(
    vocabulary: Vocabulary,
    measure: Measure,
    selectors: Collection[str],
    *,
    recorded: str,
    lookback: timedelta,
) -> str:
    signal = measure.signal
    step = STEP if signal is Signal.GUEST_LOAD else find_step(measure)
    span = min(measure.span or lookback, lookback)
    plain = measure.rate_window <= STEP or signal is Signal.GUEST_LOAD
    if recorded and plain and measure.peak_window is None:
        steps = f"{recorded}[{seconds(span)}]"
    else:
        if not recorded:
            rate = build_rate(vocabulary, signal, selectors, measure.rate_window)
        elif plain:
            rate = recorded
        else:
            rate = f"avg_over_time({recorded}[{seconds(measure.rate_window)}])"
        if measure.peak_window is not None:
            rate = f"max_over_time(({rate})[{seconds(measure.peak_window)}:{seconds(step)}])"
            step = measure.peak_window
        steps = f"({rate})[{seconds(span)}:{seconds(step)}]"
    if measure.percentile == 100:
        return f"max_over_time({steps})"
    return f"quantile_over_time({measure.percentile / 100:.10g}, {steps})"


def _newest(vocabulary: Vocabulary, selectors: Collection[str]) -> str:
    each = [f"max by ({vocabulary.by}) (timestamp({selector}))" for selector in selectors]
    if len(each) == 1:
        return each[0]
    apart = [f'label_replace({one}, "part", "{index}", "", "")' for index, one in enumerate(each)]
    return f"min by ({vocabulary.by}) ({' or '.join(apart)})"


def build_state_query(vocabulary: Vocabulary, refs: Collection[VmRef], *, lookback: timedelta) -> Query | None:
    """Steps in which a VM ran ("running") and was known at all ("observed"); how often its counters began anew
    ("resets"); how many exporters report it from one node ("exporters")."""
    steps = f"[{seconds(lookback)}:{seconds(STEP)}]"
    parts = []
    if vocabulary.rules:
        recorded = {"running": RUNNING_RULE, "observed": OBSERVED_RULE}
        parts = [
            tag(f"count_over_time({vocabulary.select(rule, refs)}[{seconds(lookback)}])", name)
            for name, rule in recorded.items()
        ]
    else:
        if RUNNING in vocabulary.metrics:
            running = vocabulary.select(RUNNING, refs, matchers='phase="running"')
            parts.append(tag(f"count_over_time((max by ({vocabulary.by}) ({running})){steps})", "running"))
        known = vocabulary.first((*OBSERVED, RUNNING))
        if known is not None:
            observed = vocabulary.select(known, refs)
            parts.append(tag(f"count_over_time((max by ({vocabulary.by}) ({observed})){steps})", "observed"))
    cpu = vocabulary.find(Signal.CPU)
    if cpu is not None:
        selector = vocabulary.select(cpu.name, refs, matchers=cpu.matchers)
        if vocabulary.rules:
            counter = f"{vocabulary.select(CPU_SECONDS_RULE, refs)}[{seconds(lookback)}]"
        else:
            counter = f"(max by ({vocabulary.by}) ({selector})){steps}"
        parts.append(tag(f"resets({counter})", "resets"))
        apart = f"{vocabulary.by}, {vocabulary.node}" + (", id" if cpu.matchers else "")
        parts.append(tag(f"max by ({vocabulary.by}) (count by ({apart}) ({selector}))", "exporters"))
    return Query(" or ".join(parts), vocabulary.name) if parts else None


def build_memory_query(vocabulary: Vocabulary, refs: Collection[VmRef], *, lookback: timedelta) -> Query | None:
    """The most memory that a guest had ("available"), and the least that it could still use ("usable")."""
    if not vocabulary.metrics.issuperset(MEMORY):
        return None
    if vocabulary.rules:
        most, least = (f"{vocabulary.select(name, refs)}[{seconds(lookback)}]" for name in MEMORY_RULES)
    else:
        steps = f"[{seconds(lookback)}:{seconds(STEP)}]"
        available, usable = (vocabulary.select(name, refs) for name in MEMORY)
        most = f"(max by ({vocabulary.by}) ({available})){steps}"
        least = f"(min by ({vocabulary.by}) ({usable})){steps}"
    parts = (tag(f"max_over_time({most})", "available"), tag(f"min_over_time({least})", "usable"))
    return Query(" or ".join(parts), vocabulary.name)


def build_sessions_query(vocabulary: Vocabulary, refs: Collection[VmRef], *, lookback: timedelta) -> Query:
    """Sessions that are open ("open"); when one was last seen open ("active"), and when one ended ("last")."""
    by = f"{vocabulary.namespace}, vmi"
    open_now = f"sum by ({by}) ({vocabulary.select(OPEN_SESSIONS, refs, name='vmi', regex=True)})"
    last = vocabulary.select(LAST_SESSION, refs, name="vmi")
    steps = f"[{seconds(lookback)}:{seconds(STEP)}]"
    return Query(
        " or ".join(
            (
                tag(open_now, "open"),
                tag(f"max_over_time(timestamp({open_now} > 0){steps})", "active"),
                tag(f"max by ({by}) (max_over_time({last}[{seconds(lookback)}]))", "last"),
            )
        ),
        "vmi",
    )


def build_migrations_query(
    vocabulary: Vocabulary, refs: Collection[VmRef], *, lookback: timedelta
) -> Query | None:
    """When live migrations began ("first", "start", "changes") and ended ("end").

    Before KubeVirt 1.5 nobody says; then how many pods a VM had ("pods") and since when there is the newest of
    them ("newest"): restarts are counted along.
    """
    span, step = seconds(lookback), seconds(STEP)
    if TELLS_MIGRATIONS in vocabulary.metrics or vocabulary.metrics.issuperset(MIGRATION):
        start, end = (f"max by ({vocabulary.by}) ({vocabulary.select(name, refs)})" for name in MIGRATION)
        parts = [
            tag(f"max_over_time(({start})[{span}:{step}])", "start"),
            tag(f"min_over_time(({start})[{span}:{step}])", "first"),
            tag(f"changes(({start})[{span}:{step}])", "changes"),
            tag(f"max_over_time(({end})[{span}:{step}])", "end"),
        ]
    elif RUNNING in vocabulary.metrics:
        selector = vocabulary.select(RUNNING, refs, matchers='phase="running"')
        recorded = f"{vocabulary.select(POD_RULE, refs)}[{span}]" if vocabulary.rules else ""
        pods = f"count_over_time({recorded or f'{selector}[{span}:{step}]'})"
        newest = f"min_over_time(timestamp({selector})[{seconds(min(RECENT, lookback))}:{step}])"
        by_pod = f"{vocabulary.by}, vmi_pod"
        parts = [
            tag(f"count by ({vocabulary.by}) (count by ({by_pod}) ({pods}))", "pods"),
            tag(f"max by ({vocabulary.by}) (min by ({by_pod}) ({newest}))", "newest"),
        ]
    else:
        return None
    return Query(" or ".join(parts), vocabulary.name)


def build_watch_query(lookback: timedelta) -> str:
    """Steps in which virt-api, which knows of sessions, was watched: it was up, or a session was known."""
    return (
        f'count_over_time((max(up{{pod=~"virt-api-.+"}} == 1) or '
        f"(count({LAST_SESSION}) > 0))[{seconds(lookback)}:{seconds(STEP)}])"
    )


def build_interval_query(metric: Metric) -> str:
    """How many samples a series of virt-handler has in an hour."""
    selector = f"{metric.name}{{{metric.matchers}}}" if metric.matchers else metric.name
    return f"quantile(0.5, count_over_time({selector}[1h]))"


def build_rules_query(lookback: timedelta) -> str:
    """For how many steps of the lookback vmkit's recording rules have recorded anything."""
    counts = [
        tag(f"count_over_time((count({name}))[{seconds(lookback)}:{seconds(STEP)}])", str(index))
        for index, name in enumerate(EVIDENCE_OF_RULES)
    ]
    return " or ".join(counts)
