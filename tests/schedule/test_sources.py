"""Where schedules are written, and which holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkit.schedule import Defaults, Effective, Scope, Source, resolve_sources
from vmkit.schedule.sources import parse_instant

MONDAY_NOON = datetime(2026, 2, 2, 12, tzinfo=UTC)
DAYS = {"vmkit.io/schedule": "Mon-Fri 08:00-18:00 UTC"}
NIGHTS = {"vmkit.io/schedule": "Mon-Fri 20:00-06:00 UTC"}


def resolve(
    vm: dict[str, str] | None = None,
    namespace: dict[str, str] | None = None,
    config: dict[str, str] | None = None,
    default: dict[str, str] | None = None,
    **defaults: object,
) -> Effective:
    given = zip(Scope, ("VM", "Namespace", "vmkit.toml", "default"), (vm, namespace, config, default), strict=True)
    # Handed over in the wrong order: precedence is not a matter of order.
    sources = [Source(scope, where, values) for scope, where, values in given if values is not None][::-1]
    return resolve_sources(sources, Defaults(**defaults))


def test_the_nearest_scope_decides() -> None:
    scopes = [DAYS, NIGHTS, DAYS, NIGHTS]
    for first in range(4):
        given = [None] * first + scopes[first:]
        effective = resolve(*given)
        assert effective.origin.scope is list(Scope)[first]
        assert effective.timetable.is_active(MONDAY_NOON) is (first % 2 == 0)
        assert effective.origin.keys == ("vmkit.io/schedule",)
    assert resolve().timetable is None
    assert resolve().origin is None


def test_a_group_is_taken_from_one_scope() -> None:
    vm = {"vmkit.io/schedule": "Mon-Fri 08:00-18:00"}
    namespace = {"vmkit.io/timezone": "Asia/Tokyo", **NIGHTS}
    effective = resolve(vm, namespace)
    assert "which time zone" in effective.problems[0].error.message
    assert resolve(vm, namespace, timezone="UTC").timetable.is_active(MONDAY_NOON)
    own = resolve({**vm, "vmkit.io/timezone": "Asia/Tokyo"}, namespace)
    assert not own.timetable.is_active(MONDAY_NOON)


def test_none_ends_the_search() -> None:
    effective = resolve({"vmkit.io/schedule": "none"}, DAYS)
    assert effective.timetable is None
    assert effective.origin.scope is Scope.VM
    assert effective.problems == ()


def test_downtime_is_the_other_way_to_say_it() -> None:
    effective = resolve({"vmkit.io/downtime": "Mon-Fri 08:00-18:00 UTC"})
    assert not effective.timetable.is_active(MONDAY_NOON)
    both = resolve({**DAYS, "vmkit.io/downtime": "never"})
    assert "say it twice" in both.problems[0].error.message
    lonely = resolve({"vmkit.io/timezone": "UTC"}, DAYS)
    assert lonely.timetable is None
    assert "beside it" in lonely.problems[0].error.message


def test_switches_are_words_or_schedules() -> None:
    for text, forced in (
        ("true", True),
        ("FALSE", False),
        ("Mon 11:00-13:00 UTC", True),
        ("Tue 11:00-13:00 UTC", False),
    ):
        assert resolve({"vmkit.io/force-uptime": text}).force_up.is_active(MONDAY_NOON) is forced
        assert resolve(None, {"vmkit.io/exclude": text}).exclude.is_active(MONDAY_NOON) is forced


def test_a_nearer_force_that_says_no_hides_a_wider_one() -> None:
    effective = resolve({"vmkit.io/force-downtime": "false"}, {"vmkit.io/force-uptime": "true"})
    assert effective.force_up is None
    assert not effective.force_down.is_active(MONDAY_NOON)


def test_the_latest_exclusion_of_all_scopes_counts() -> None:
    effective = resolve(
        {"vmkit.io/exclude-until": "2026-02-03T00:00:00Z"}, {"vmkit.io/exclude-until": "2026-02-05T00:00:00+01:00"}
    )
    assert effective.exclude_until == datetime(2026, 2, 4, 23, tzinfo=UTC)


def test_overrides_count_on_the_vm_alone() -> None:
    values = {
        "vmkit.io/keep-up-until": "2026-02-02T20:00:00Z",
        "vmkit.io/keep-down-until": "2026-02-02T21:00:00Z",
        "vmkit.io/skip-next": "2026-02-02T22:00:00Z",
    }
    effective = resolve(values)
    assert [at.hour for at in (effective.keep_up_until, effective.keep_down_until, effective.skip_next)] == [
        20,
        21,
        22,
    ]
    elsewhere = resolve({}, values)
    assert elsewhere.keep_up_until is elsewhere.keep_down_until is elsewhere.skip_next is None


def test_options_come_from_the_nearest_scope_each() -> None:
    effective = resolve(
        {"vmkit.io/start": "always"}, {"vmkit.io/start": "stopped", "vmkit.io/warn-before-stop": "10m"},
        {"vmkit.io/grace-period": "1h", "vmkit.io/restart-safe": "true"},
    )  # fmt: skip
    assert (effective.start_always, effective.restart_safe) == (True, True)
    assert (effective.warn, effective.grace) == (timedelta(minutes=10), timedelta(hours=1))
    assert (resolve().start_always, resolve().restart_safe) == (False, False)
    assert (resolve().warn, resolve().grace) == (timedelta(), timedelta(minutes=15))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("schedule", "Mon-Fry 08:00-18:00 UTC"),
        ("schedule", "x" * 100_000),
        ("force-uptime", "perhaps"),
        ("exclude", ""),
        ("exclude-until", "tomorrow"),
        ("exclude-until", "2026-02-03"),
        ("exclude-until", "0001-01-01T00:00:00+14:00"),
        ("keep-up-until", "3h"),
        ("skip-next", "true"),
        ("start", "sometimes"),
        ("restart-safe", "1"),
        ("warn-before-stop", "10"),
        ("warn-before-stop", "30d"),
        ("grace-period", "-5m"),
    ],
)
def test_what_is_not_understood_is_a_problem_with_its_place(key: str, text: str) -> None:
    effective = resolve({f"vmkit.io/{key}": text})
    assert [problem.origin.keys for problem in effective.problems] == [(f"vmkit.io/{key}",)]
    assert str(effective.problems[0]).startswith(f"vmkit.io/{key} on VM: ")


def test_a_bad_text_in_a_scope_that_does_not_count_is_no_problem() -> None:
    assert resolve(DAYS, {"vmkit.io/schedule": "nonsense"}).problems == ()


def test_the_fingerprint_follows_the_words_that_decide() -> None:
    first = resolve(DAYS, timezone="UTC").fingerprint
    assert (
        first
        == resolve(DAYS, NIGHTS, timezone="UTC").fingerprint
        == resolve(None, DAYS, timezone="UTC").fingerprint
    )
    others = {
        resolve(NIGHTS, timezone="UTC").fingerprint,
        resolve(DAYS, timezone="Asia/Tokyo").fingerprint,
        resolve({"vmkit.io/downtime": DAYS["vmkit.io/schedule"]}, timezone="UTC").fingerprint,
    }
    assert len(others | {first}) == 4


def test_instants_need_a_zone() -> None:
    assert parse_instant(" 2026-02-05T18:00:00+01:00 ") == datetime(2026, 2, 5, 17, tzinfo=UTC)
