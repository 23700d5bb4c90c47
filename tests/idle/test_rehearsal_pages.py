"""The page of a rehearsal. ``python -m tests.idle.test_rehearsal_pages`` writes its golden file anew."""

from __future__ import annotations

from array import array
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.browser.chromium import Browser
from tests.idle.world import DAY, QUIET, quiet_facts
from vmkit.idle.policy import gcp_recommender, vmkit_policy
from vmkit.idle.rehearsal import Rehearsal, Terms, rehearse
from vmkit.idle.rehearsal_history import STEP, UP, VmHistory
from vmkit.idle.rehearsal_pages import build_rehearsal_page
from vmkit.idle.report import Size
from vmkit.metrics.summary import Signal
from vmkit.report.page import Page
from vmkit.report.page.html import render_html
from vmkit.report.page.markdown import render_markdown
from vmkit.vm.reference import VmRef

GOLDEN = Path(__file__).resolve().parent.parent / "golden/pages/rehearsal.md"
START = datetime(2026, 1, 5, tzinfo=UTC)
TERMS = Terms(START + 3 * DAY, START + 17 * DAY, UTC)
STEPS = (TERMS.end - START) // STEP
POLICIES = (
    replace(vmkit_policy(lookback=3 * DAY), minimum_running=2 * DAY),
    replace(gcp_recommender(), lookback=3 * DAY, minimum_running=2 * DAY),
)


def _history(number: int) -> VmHistory:
    """Of four VMs one is used in office hours, one once in a while, one late in the rehearsal, and one never."""

    def cpu(step: int) -> float:
        day, hour = step // 288, step // 12 % 24
        used = (day % 7 < 5 and 9 <= hour < 17, day % 5 == 4 and hour == 6, day >= 12, False)[number % 4]
        return 1.2 if used else 0.01

    signals = {signal: array("f", [level]) * STEPS for signal, level in QUIET.items()}
    signals[Signal.CPU] = array("f", map(cpu, range(STEPS)))
    ref = VmRef("shop" if number % 3 else "lab", f"web-{number}")
    return VmHistory(
        replace(quiet_facts(), ref=ref, created_at=START - 90 * DAY, running_since=START - 30 * DAY),
        START,
        bytes([UP]) * STEPS,
        signals,
        owner=f"team-{ref.namespace}",
        size=Size(2, 4 * 1024**3, 20.0, "kepler-pod"),
    )


def _page(rehearsals: list[Rehearsal]) -> Page:
    return build_rehearsal_page(
        rehearsals,
        made_at=TERMS.end + timedelta(minutes=7),
        scope="VMs labelled vmkit.io/stop-idle=enabled",
        source="Prometheus at http://prometheus.monitoring:9090",
        notices=("Prometheus warned about one of its answers",),
        command="vmkit stop-idle --rehearse 14d --compare vmkit,gcp --report rehearsal.html",
    )


def _rehearsals() -> list[Rehearsal]:
    return rehearse(POLICIES, [_history(number) for number in range(8)], TERMS)


def test_the_markdown_is_that_of_the_golden_file() -> None:
    assert render_markdown(_page(_rehearsals())) == GOLDEN.read_text(encoding="utf-8")


def test_the_page_is_presentable(browser: Browser) -> None:
    browser.inspect(render_html(_page(_rehearsals())), name="rehearsal")


def test_a_rehearsal_in_which_nothing_happens_says_so(browser: Browser) -> None:
    [first] = rehearse(POLICIES[:1], [_history(0)], TERMS)
    text = render_markdown(_page([first]))
    assert "Nothing would have been stopped" in text
    assert "Definitions compared" not in text
    browser.inspect(render_html(_page([Rehearsal(first.policy, TERMS, ())])), name="rehearsal-nothing")


def test_a_large_fleet_stays_readable() -> None:
    [first] = rehearse(POLICIES[:1], [_history(2)], TERMS)
    many = tuple(replace(first.vms[0], ref=VmRef("shop", f"vm-{number:05}")) for number in range(10_000))
    html = render_html(_page([Rehearsal(first.policy, TERMS, many)]))
    assert len(html.encode()) < 2_000_000
    assert "9,970 more are in the JSON" in html


if __name__ == "__main__":
    GOLDEN.write_text(render_markdown(_page(_rehearsals())), encoding="utf-8")
