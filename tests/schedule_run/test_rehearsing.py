"""A week of schedules in seconds: every transition, planned against done."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from tests.schedule_run.world import World
from vmkit.cli.main import cli
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.errors import ScheduleError, UsageError
from vmkit.schedule.running import PassOptions
from vmkit.schedule.running.rehearsing import End, Rehearsal, rehearse

WEEK = timedelta(days=7)


class LabClock:
    def __init__(self, shop: World) -> None:
        self._shop = shop

    def now(self) -> datetime:
        return self._shop.now

    def advance_to(self, at: datetime) -> None:
        self._shop.lab.advance(at - self._shop.now)


def run(shop: World, span: timedelta = WEEK, **options) -> Rehearsal:
    return rehearse(shop.session, shop.hands, LabClock(shop), PassOptions(**options), span)


def ends(rehearsal: Rehearsal, name: str, side: str) -> list[str]:
    return [str(row.end) for row in rehearsal.transitions if (row.ref.name, str(row.side)) == (name, side)]


def test_a_week_passes_and_every_transition_is_told(shop: World) -> None:
    shop.create("web")
    start = shop.now
    rehearsal = run(shop)
    assert (rehearsal.start, rehearsal.end, shop.now) == (start, start + WEEK, start + WEEK)
    assert ends(rehearsal, "web", "start") == ["needless", "done", "done", "done", "done"]
    assert ends(rehearsal, "web", "stop") == ["done"] * 5
    assert all(row.delay == timedelta(0) for row in rehearsal.transitions if row.end is End.DONE)
    assert [row.at for row in rehearsal.transitions] == sorted(row.at for row in rehearsal.transitions)
    assert rehearsal.problems == ()
    # A pass for each transition, one after each action, the first and the last: not one a minute.
    assert rehearsal.passes < 40
    assert str(shop.look("web").power) == "Stopped"


def test_what_waited_for_another_is_done_late_and_says_for_what(shop: World) -> None:
    shop.create("app", depends_on="db")
    shop.create("db")
    rehearsal = run(shop, timedelta(days=1, hours=2))
    late = [row for row in rehearsal.transitions if row.delay]
    assert [(row.ref.name, str(row.side), row.reason.code) for row in late] == [
        ("db", "stop", "NeedsAnother"),
        ("app", "start", "NeedsAnother"),
    ]
    assert all(timedelta(0) < row.delay <= timedelta(minutes=5) for row in late if row.delay)


def test_what_is_vetoed_says_by_what_and_what_is_left_alone_why(shop: World) -> None:
    shop.create("fragile", safe=False)
    shop.create("spared", exclude="true")
    shop.create("skipping", skip_next="2026-02-02T18:00:00Z")
    shop.create("byhand")
    shop.call("byhand", "stop")
    rehearsal = run(shop, timedelta(hours=26))
    found = {
        (row.ref.name, row.at.day, str(row.side)): (str(row.end), row.reason.code) for row in rehearsal.transitions
    }
    assert found["fragile", 2, "stop"] == ("left", "DiskLost")
    assert found["spared", 2, "stop"] == ("left", "Excluded")
    assert found["skipping", 2, "stop"] == ("left", "Skipped")
    assert found["byhand", 3, "start"] == ("left", "StoppedByHand")
    assert not [row for row in rehearsal.transitions if row.done_at]


def test_what_cannot_be_done_is_a_problem_and_the_others_are_not_concerned(shop: World) -> None:
    shop.create("broken", "Mon-Fry 08:00-18:00 UTC")
    shop.create("web")
    rehearsal = run(shop, timedelta(hours=12))
    assert [ref.name for ref, _ in rehearsal.problems] == ["broken"]
    assert ends(rehearsal, "web", "stop") == ["done"]
    assert rehearsal.passes < 10  # What cannot change is not tried again and again.


def test_a_warning_takes_nothing_from_what_was_done_before(shop: World) -> None:
    shop.create("web", warn_before_stop="15m")
    rehearsal = run(shop, timedelta(hours=12))
    assert [(str(row.side), str(row.end)) for row in rehearsal.transitions] == [
        ("start", "needless"),
        ("stop", "done"),
    ]


def test_at_most_so_many_are_started_in_a_minute_of_the_clock_that_is_moved(shop: World) -> None:
    for number in range(5):
        shop.create(f"vm-{number}")
    rehearsal = run(shop, timedelta(hours=26), starts_a_minute=2)
    delays = sorted(
        row.delay for row in rehearsal.transitions if str(row.side) == "start" and row.delay is not None
    )
    assert delays == [timedelta(minutes=count) for count in (0, 0, 1, 1, 2)]


@pytest.mark.parametrize("span", [timedelta(0), timedelta(days=93)])
def test_a_span_that_makes_no_sense_is_refused(shop: World, span: timedelta) -> None:
    with pytest.raises(ScheduleError):
        run(shop, span)
    with pytest.raises(UsageError):
        run(shop, dry_run=True)


def clock(shop: World, *arguments: str):
    return CliRunner().invoke(cli, ["lab", "clock", "--kubeconfig", shop.lab.kubeconfig, *arguments])


def test_the_command_rehearses_and_shows_a_table(shop: World) -> None:
    shop.create("web")
    shown = clock(shop, "--run", "12h")
    assert shown.exit_code == 0, shown.output
    row = next(line for line in shown.stdout.splitlines() if "stop" in line)
    assert row.split()[:6] == ["Mon", "2026-02-02", "18:00", "shop", "web", "stop"]
    assert "done" in row
    assert "2 transitions: 1 done, 1 needless" in shown.output


def test_the_command_writes_json_and_says_by_its_code_that_somebody_has_to_look(shop: World) -> None:
    shop.create("broken", "Mon-Fry 08:00-18:00 UTC")
    shop.create("web")
    shown = clock(shop, "--run", "12h", "-o", "json", "-n", "shop")
    document = json.loads(shown.stdout)
    assert shown.exit_code == document["exitCode"] == 1
    assert [problem["name"] for problem in document["problems"]] == ["broken"]
    [stop] = [item for item in document["items"] if item["side"] == "stop"]
    assert (stop["end"], stop["doneAt"], stop["delaySeconds"]) == ("done", "2026-02-02T18:00:00Z", 0)
    assert document["results"] == {"done": 1, "needless": 1, "left": 0, "missed": 0, "failed": 0}
    assert clock(shop, "--run", "1h", "-o", "csv").stdout.startswith("planned_utc,namespace,name")


def test_a_clock_that_ran_runs_on_afterwards(shop: World) -> None:
    shop.lab.call(lambda: shop.lab.clock.run(speed=2.0))
    assert clock(shop, "--run", "1h").exit_code == 0
    assert shop.lab.call(lambda: (shop.lab.clock.frozen, shop.lab.clock.speed)) == (False, 2.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("+8h", "--run", "1h"),
        ("-o", "json"),
        ("--despite-gitops",),
        ("--run", "1y"),
        ("--run", "0s"),
        ("-n", "shop"),
    ],
)
def test_what_does_not_go_together_is_refused(shop: World, arguments: tuple[str, ...]) -> None:
    assert clock(shop, *arguments).exit_code == 2


def test_a_vm_that_goes_away_meanwhile_does_not_end_it(shop: World) -> None:
    shop.create("web")
    shop.create("gone")
    passes = []

    def on_pass(at: datetime) -> None:
        passes.append(at)
        if len(passes) == 3:
            shop.session.delete(VIRTUAL_MACHINES, "gone")

    rehearsal = rehearse(
        shop.session, shop.hands, LabClock(shop), PassOptions(), timedelta(days=2), on_pass=on_pass
    )
    assert ends(rehearsal, "web", "stop") == ["done", "done"]
    assert "NotReached" in {row.reason.code for row in rehearsal.transitions if row.ref.name == "gone"}
