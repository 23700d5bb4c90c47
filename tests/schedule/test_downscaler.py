"""Annotations of the two downscalers, with the meaning each gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vmkit.schedule import Defaults, Effective, Scope, Source, Wish, resolve_sources

NOON = datetime(2026, 2, 2, 12, tzinfo=UTC)
DAYS, MORNINGS = "Mon-Fri 08:00-18:00 UTC", "Mon-Fri 08:00-12:00 UTC"


def resolve(
    vm: dict[str, str], namespace: dict[str, str] | None = None, *, dialect: str | None, config: str = ""
) -> Effective:
    def expand(values: dict[str, str]) -> dict[str, str]:
        return {key if "/" in key else f"downscaler/{key}": text for key, text in values.items()}

    sources = [Source(Scope.VM, "VM", expand(vm)), Source(Scope.NAMESPACE, "Namespace", expand(namespace or {}))]
    if config:
        sources.append(Source(Scope.CONFIG, "vmkit.toml", {"vmkit.io/schedule": config}))
    return resolve_sources(sources, Defaults(honour_downscaler=dialect))


def test_nothing_counts_until_it_is_honoured() -> None:
    effective = resolve({"uptime": DAYS}, {"exclude": "true"}, dialect=None)
    assert effective.timetable is None
    assert effective.exclude is None
    assert effective.disregarded == ("downscaler/exclude", "downscaler/uptime")


@pytest.mark.parametrize("dialect", ["python", "go"])
def test_uptime_alone_and_downtime_alone(dialect: str) -> None:
    up, down = (resolve({key: MORNINGS}, dialect=dialect).timetable for key in ("uptime", "downtime"))
    assert [up.is_active(NOON - timedelta(hours=hours)) for hours in (2, 0)] == [True, False]
    assert [down.is_active(NOON - timedelta(hours=hours)) for hours in (2, 0)] == [False, True]


def test_values_of_several_scopes_count_together_in_python_only() -> None:
    python = resolve({"downtime": MORNINGS}, {"uptime": DAYS}, dialect="python")
    assert [python.timetable.is_active(NOON + timedelta(hours=hours)) for hours in (-2, 2, 8)] == [
        False,
        True,
        False,
    ]
    assert python.origin.keys == ("downscaler/uptime", "downscaler/downtime")
    go = resolve({"downtime": MORNINGS}, {"uptime": DAYS}, dialect="go")
    assert [go.timetable.is_active(NOON + timedelta(hours=hours)) for hours in (-2, 2, 8)] == [False, True, True]


def test_what_go_calls_incompatible_is_a_problem() -> None:
    for values in ({"uptime": DAYS, "downtime": DAYS}, {"uptime": DAYS, "upscale-period": DAYS}):
        assert "do not go together" in resolve(values, dialect="go").problems[0].error.message


@pytest.mark.parametrize("dialect", ["python", "go"])
def test_periods_start_and_stop_and_leave_the_rest_alone(dialect: str) -> None:
    effective = resolve(
        {"upscale-period": "Mon-Fri 07:00-08:00 UTC", "downscale-period": "Mon-Fri 19:00-20:00 UTC"},
        dialect=dialect,
    )
    assert effective.timetable.wants(NOON) is Wish.ANY
    found = effective.timetable.transitions(NOON, NOON + timedelta(days=1))
    assert [(one.at.hour, one.active) for one in found] == [(19, False), (7, True)]


def test_in_python_a_period_of_any_scope_beats_hours() -> None:
    effective = resolve({"uptime": DAYS}, {"downscale-period": "Mon-Fri 19:00-20:00 UTC"}, dialect="python")
    assert effective.timetable.wants(NOON) is Wish.ANY
    never = resolve({"uptime": DAYS}, {"downscale-period": "never"}, dialect="python")
    assert never.timetable.wants(NOON) is Wish.ON


@pytest.mark.parametrize(
    ("text", "python", "go"),
    [
        ("true", True, True),
        ("false", False, False),
        ("no", True, None),
        (DAYS, True, True),
        ("Tue-Tue 08:00-18:00 UTC", True, False),
    ],
)
def test_exclude(text: str, python: bool, go: bool | None) -> None:
    one = resolve({"exclude": text}, dialect="python")
    assert (one.exclude is not None and one.exclude.is_active(NOON)) is python
    other = resolve({"exclude": text}, dialect="go")
    assert bool(other.problems) is (go is None)
    if go is not None:
        assert other.exclude.is_active(NOON) is go


@pytest.mark.parametrize(
    ("text", "python", "go"),
    [
        ("2026-02-05T18:00:00Z", True, True),
        ("2026-02-05T18:00", True, False),
        ("2026-02-05 18:00", True, False),
        ("2026-02-05", True, False),
        ("2026-02-05T18:00:00+01:00", False, True),
        ("soon", False, False),
    ],
)
def test_an_invalid_date_keeps_the_vm_as_it_is(text: str, python: bool, go: bool) -> None:
    for dialect, taken in (("python", python), ("go", go)):
        effective = resolve({"exclude-until": text}, dialect=dialect)
        assert (effective.exclude_until is not None) is taken
        assert bool(effective.problems) is not taken


def test_python_obeys_force_on_namespaces_only() -> None:
    assert resolve({"force-uptime": "true"}, dialect="python").force_up is None
    assert resolve({}, {"force-uptime": "true"}, dialect="python").force_up.is_active(NOON)
    assert resolve({"force-downtime": DAYS}, dialect="go").force_down.is_active(NOON)


def test_grace_periods() -> None:
    for text, python, go in (("60", 60, 60), ("7200", 900, 7200), ("30m", 900, 1800), ("x", 900, 900)):
        assert resolve({"grace-period": text}, dialect="python").grace == timedelta(seconds=python)
        assert resolve({"grace-period": text}, dialect="go").grace == timedelta(seconds=go)


def test_a_vm_that_keeps_a_replica_is_kept() -> None:
    assert resolve({"downtime-replicas": "1"}, dialect="python").exclude.is_active(NOON)
    assert resolve({"downscale-replicas": "1"}, dialect="go").exclude.is_active(NOON)
    assert resolve({"downtime-replicas": "0"}, dialect="python").exclude is None


def test_the_own_annotations_win_and_the_config_file_does_not() -> None:
    own = {"vmkit.io/schedule": "never"}
    assert resolve({"uptime": "always"}, own, dialect="go").timetable.is_active(NOON) is False
    by_file = resolve({"uptime": "always"}, dialect="go", config="never")
    assert by_file.timetable.is_active(NOON)
    assert by_file.origin.scope is Scope.VM
    assert resolve({}, dialect="go", config="never").origin.scope is Scope.CONFIG


def test_a_bad_value_is_a_problem() -> None:
    for dialect in ("python", "go"):
        effective = resolve({"uptime": "Mon-Fry 08:00-18:00 UTC"}, dialect=dialect)
        assert effective.timetable is None
        assert effective.problems[0].origin.keys == ("downscaler/uptime",)
