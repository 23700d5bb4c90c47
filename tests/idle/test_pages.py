"""The page of a run over idle VMs. ``python -m tests.idle.test_pages`` writes its golden file anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.browser.chromium import PHONE, Browser
from tests.idle.world import AT, DAY, quiet_facts, quiet_summary
from vmkit.idle.pages import build_idle_page
from vmkit.idle.policy import vmkit_policy
from vmkit.idle.report import Action, IdleItem, IdleReport, Size
from vmkit.idle.verdict import State, decide_idle
from vmkit.metrics.summary import Sessions, Signal, Unknown
from vmkit.plan import Reason
from vmkit.report.page.html import render_html
from vmkit.report.page.markdown import render_markdown
from vmkit.vm.reference import VmRef

GOLDEN = Path(__file__).resolve().parent.parent / "golden/pages/idle.md"
POLICY = vmkit_policy()
_KINDS = ("idle", "idle", "busy", "held", "unknown", "busy", "session")


def _item(number: int, kind: str) -> IdleItem:
    ref = VmRef(("shop", "search", "lab")[number % 3], f"web-{number}")
    facts = replace(quiet_facts(), ref=ref, vcpus=(2, 4, 8)[number % 3])
    summary = replace(quiet_summary(), ref=ref)
    if kind == "busy":
        summary = replace(quiet_summary(levels={Signal.CPU: 0.2 + number % 5}), ref=ref)
    if kind == "session":
        summary = replace(summary, sessions=Sessions(1, None, AT - POLICY.lookback))
    if kind == "unknown":
        summary = replace(summary, observed=Unknown("Away", "Prometheus did not answer"))
    if kind == "held":
        facts = replace(facts, vetoes=(Reason("KeepUp", "somebody keeps it up until 1 April"),))
    verdict = decide_idle(summary, facts, POLICY, AT)
    assert verdict.state == {"held": State.IDLE, "session": State.BUSY}.get(kind, kind)
    marks = verdict.may_stop and number % 2 == 0
    return IdleItem(
        owner=("team-shop", "team-search", "team-lab")[number % 3],
        verdict=verdict,
        facts=facts,
        size=Size(facts.vcpus, facts.vcpus * 2 * 1024**3, 12.5 if kind == "idle" else None, "kepler-pod"),
        action=Action.MARK if marks else Action.STOP if verdict.may_stop else Action.NONE,
        reason=Reason("Idle", "it was noted yesterday, and is idle still"),
        marked_at=AT if marks else None,
        stop_after=AT + DAY if marks else None,
    )


def _report(items: Iterator[IdleItem], **changes: object) -> IdleReport:
    report = IdleReport(
        at=AT,
        policy=POLICY.name,
        lookback=POLICY.lookback,
        criteria=tuple(map(str, POLICY.criteria)),
        notice=DAY,
        scope="VMs labelled vmkit.io/stop-idle=enabled",
        source="Prometheus at http://prometheus.monitoring:9090",
        items=tuple(sorted(items, key=lambda each: each.ref)),
        notices=("Prometheus warned about one of its answers",),
    )
    return replace(report, **changes)  # type: ignore[arg-type]


def _small() -> IdleReport:
    return _report(_item(number, _KINDS[number % len(_KINDS)]) for number in range(21))


def test_the_markdown_is_that_of_the_golden_file() -> None:
    text = render_markdown(build_idle_page(_small(), command="vmkit stop-idle -A --report idle.md"))
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_page_is_presentable(browser: Browser) -> None:
    browser.inspect(render_html(build_idle_page(_small(), command="vmkit stop-idle -A")), name="idle")


def test_a_run_that_found_nothing_says_so(browser: Browser) -> None:
    page = build_idle_page(_report(iter(()), notices=()))
    browser.inspect(render_html(page), name="idle-nothing")
    assert "No VM was looked at" in render_markdown(page)


def test_where_nearly_all_is_unknown_that_comes_first() -> None:
    page = build_idle_page(_report(_item(number, "unknown") for number in range(3)))
    text = render_markdown(page)
    assert text.index("100 % of the VMs are unknown") < text.index("## ")
    assert "| `Away` | 3 | `lab/web-2` | nobody can tell how long it was watched" in text


def test_energy_by_a_model_is_named_as_such() -> None:
    items = [replace(_item(0, "idle"), size=Size(2, 4 * 1024**3, 10.0, "model"))]
    assert "by a power model" in render_markdown(build_idle_page(_report(iter(items))))


def test_the_longest_unseen_job_is_told() -> None:
    item = _item(0, "idle")
    far = replace(item.verdict, unseen_job=timedelta(hours=10, minutes=4), unseen_gap=timedelta(hours=2))
    text = render_markdown(build_idle_page(_report(iter([replace(item, verdict=far)]))))
    assert "Work of up to 10h4m could hide in an idle VM" in text
    assert "up to 2h more lie where samples are missing" in text


def test_ten_thousand_vms_stay_readable(browser: Browser) -> None:
    items = [_item(number, kind) for number, kind in enumerate(_KINDS)]
    many = (
        replace(
            items[number % len(items)],
            verdict=replace(
                items[number % len(items)].verdict, ref=VmRef(f"ns-{number % 300}", f"vm-{number:05}")
            ),
            owner=f"team-{number % 300}",
        )
        for number in range(10_000)
    )
    html = render_html(build_idle_page(_report(many)))
    assert len(html.encode()) < 2_000_000
    sight = browser.look(html, name="idle-10000", width=PHONE, audit=False)
    assert sight.content_width <= PHONE
    assert "more</strong> in the JSON" in html


if __name__ == "__main__":
    GOLDEN.write_text(
        render_markdown(build_idle_page(_small(), command="vmkit stop-idle -A --report idle.md")), encoding="utf-8"
    )
