"""The ledger: what VMs remember is taken over once, ends when they run again, and adds up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import ConfigError
from vmkit.idle.ledger import Account, Page, Rates, Stretch, parse_page, render_page, sum_page, take_over
from vmkit.idle.ledger_show import (
    ledger_items,
    ledger_summary,
    render_ledger,
    render_ledger_csv,
    render_ledger_metrics,
)
from vmkit.idle.rates import read_rates
from vmkit.idle.report import Size
from vmkit.vm.history import HISTORY, Entry, add_entry
from vmkit.vm.reference import VmRef
from vmkit.vm.views import InstanceView, PowerState, VmView

BEGIN = datetime(2026, 2, 27, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
RATES = Rates(400.0, "Example", 2025, 2.0, "measured", "EUR", 0.01, 0.002, 0.3)


def vm(
    *stops: datetime, starts: tuple[datetime, ...] = (), since: datetime | None = None, **changes: object
) -> VmView:
    """A VM with this history; it runs since then."""
    annotations: dict[str, str] = {}
    for at, verb in sorted([*((at, "stop") for at in stops), *((at, "start") for at in starts)]):
        entry = Entry("run", at, verb, "StoppedIdle", "why", 0, 2, 4_000_000_000, 10.0, "kepler-pod")
        annotations[HISTORY] = add_entry(annotations, entry)
    view = VmView(
        VmRef("shop", "web"),
        uid="u-1",
        labels={"vmkit.io/owner": "ada"},
        annotations=annotations,
        power=PowerState.STOPPED if since is None else PowerState.RUNNING,
        instance=None if since is None else InstanceView("i", "Running", started_at=since),
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def stretches(pages: dict[tuple[str, str], Page]) -> list[tuple[datetime, datetime | None]]:
    return [(each.begin, each.end) for page in pages.values() for each in page.stretches]


def test_a_stop_is_taken_over_once_and_ends_when_the_vm_runs_again() -> None:
    book = take_over({}, [vm(BEGIN)], BEGIN + HOUR)
    assert stretches(book) == [(BEGIN, None)]
    assert take_over(book, [vm(BEGIN)], BEGIN + 2 * HOUR) == {}
    ended = take_over(book, [vm(BEGIN, since=BEGIN + 3 * HOUR)], BEGIN + 4 * HOUR)
    assert stretches(ended) == [(BEGIN, BEGIN + 3 * HOUR)]
    assert take_over(ended, [vm(BEGIN, since=BEGIN + 9 * HOUR)], BEGIN + 10 * HOUR) == {}


def test_a_start_by_vmkit_ends_it_and_an_unseen_start_by_hand_returns_nothing() -> None:
    book = take_over({}, [vm(BEGIN, BEGIN + 20 * HOUR, starts=(BEGIN + 12 * HOUR,))], BEGIN + 24 * HOUR)
    assert stretches(book) == [(BEGIN, BEGIN + 12 * HOUR), (BEGIN + 20 * HOUR, None)]
    book = take_over({}, [vm(BEGIN, BEGIN + 20 * HOUR)], BEGIN + 24 * HOUR)
    assert stretches(book) == [(BEGIN, BEGIN), (BEGIN + 20 * HOUR, None)]


def test_a_vm_that_was_deleted_is_off_no_more_where_all_were_looked_at() -> None:
    book = take_over({}, [vm(BEGIN)], BEGIN + HOUR)
    assert take_over(book, [], BEGIN + 2 * HOUR, is_covered=lambda namespace: False) == {}
    assert stretches(take_over(book, [], BEGIN + 2 * HOUR)) == [(BEGIN, BEGIN + 2 * HOUR)]


def test_months_have_pages_of_their_own() -> None:
    march = BEGIN + timedelta(days=3)
    book = take_over({}, [vm(BEGIN, march, starts=(BEGIN + HOUR,))], march + HOUR)
    assert sorted(key[1] for key in book) == ["2026-02", "2026-03"]


def test_what_one_stop_measured_holds_for_the_next_that_measures_nothing() -> None:
    stop = Entry("run", BEGIN, "stop", "StoppedIdle", "why", 0, 2, 4_000_000_000, 10.0, "kepler-pod")
    later = Entry("run-2", BEGIN + HOUR, "stop", "ScheduledStop", "why")
    history = add_entry({HISTORY: add_entry({}, stop)}, later)
    [page] = take_over({}, [vm(annotations={HISTORY: history})], BEGIN + 2 * HOUR).values()
    assert page.size == Size(2, 4_000_000_000, 10.0, "kepler-pod")


def test_a_history_nobody_can_read_concerns_nobody_else() -> None:
    bad = vm(uid="u-2", annotations={HISTORY: "{"})
    assert len(take_over({}, [bad, vm(BEGIN)], BEGIN + HOUR)) == 1


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 10_000)), max_size=20), st.integers(0, 40))
def test_whoever_takes_over_when_the_hours_are_the_same(gaps: list[tuple[int, int]], looks: int) -> None:
    """Stops and starts by vmkit, taken over at any times: the book says what it would, taken over once."""
    stops, starts, at = [], [], BEGIN
    for off, on in gaps[:8]:
        stops.append(at)
        starts.append(at + timedelta(seconds=off + 1))
        at = starts[-1] + timedelta(seconds=on + 1)
    book: dict[tuple[str, str], Page] = {}
    for number in range(looks + 1):
        now = at if number == looks else BEGIN + (at - BEGIN) * number / (looks + 1)
        seen = vm(*(each for each in stops if each <= now), starts=tuple(each for each in starts if each <= now))
        book.update(take_over(book, [seen], now))
    once = take_over({}, [vm(*stops, starts=tuple(starts))], at)
    assert sorted(stretches(book)) == sorted(stretches(once))


def account(**changes: object) -> Account:
    size = Size(2, 4_000_000_000, 10.0, "kepler-pod")
    ended = Page("u-1", VmRef("shop", "web"), "ada", "2026-02", size, (Stretch(BEGIN, BEGIN + 10 * HOUR, "A"),))
    unsized = Page(
        "u-2", VmRef("shop", 'b"ox'), 'bo"b', "2026-02", Size(), (Stretch(BEGIN, None, "ScheduledStop"),)
    )
    return replace(Account(BEGIN + 20 * HOUR, (ended, unsized), RATES), **changes)  # type: ignore[arg-type]


def test_hours_energy_grams_and_money_add_up_each_apart() -> None:
    found = account().by_owner()["ada"].to_dict(RATES)
    assert found == {
        "stops": 1,
        "hours": 10.0,
        "vcpuHours": 20.0,
        "gbHours": 40.0,
        "activeKwh": 0.1,
        "activeKwhSources": ["kepler-pod"],
        "meteredHours": 10.0,
        "allocatedIdleKwh": 0.04,
        "gramsCo2": 40.0,
        "money": {"amount": 0.31, "currency": "EUR"},
    }
    unknown = account().by_owner()['bo"b'].to_dict(Rates())
    assert (unknown["hours"], unknown["vcpuHours"]) == (20.0, 0.0)
    assert [unknown[key] for key in ("activeKwh", "allocatedIdleKwh", "gramsCo2", "money")] == [None] * 4
    late = account(since=BEGIN + 8 * HOUR).by_owner()["ada"]
    assert late.hours == pytest.approx(2.0)
    assert sum_page(account().pages[0], since=BEGIN + 11 * HOUR, at=BEGIN + 20 * HOUR).stops == 0


def test_it_is_shown_as_a_table_csv_json_and_metrics() -> None:
    table = render_ledger(account(), wide=True)
    assert "400 g/kWh (Example, 2025)" in table
    assert "is part of no sum" in table
    assert render_ledger_csv(account()).count("\n") == 3
    [first, second] = sorted(ledger_items(account()), key=lambda each: each["name"])
    assert (first["off"][0]["end"], second["off"][0]["end"]) == (None, "2026-02-28T04:00:00Z")
    assert ledger_summary(account())["carbonFactor"] == {"gramsPerKwh": 400.0, "source": "Example", "year": 2025}
    metrics = render_ledger_metrics(account())
    assert 'vmkit_ledger_vcpu_hours{owner="ada"} 20\n' in metrics
    assert 'owner="bo\\"b"' in metrics
    assert "co2" not in render_ledger_metrics(account(rates=Rates()))


def test_a_page_is_read_as_it_was_written() -> None:
    for page in account().pages:
        assert parse_page(page.uid, page.month, render_page(page)) == page


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"off":[[1]]}',
        "x" * 70_000,
        '{"namespace":"a","name":"b","owner":"c","vcpus":1,"memoryBytes":1,"off":[[1e99,null,"a"]]}',
    ],
)
def test_what_is_no_page_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_page("u", "2026-02", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[carbon]\ngrams-per-kwh = 400", "needs its source and year"),
        ("[carbon]\ngrams-per-kwh = -1\nsource = 'a'\nyear = 2025", "no number that makes sense"),
        ("[idle]\nwatts-per-vcpu = 2", "needs its source"),
        ("[price]\nkwh = 1", "need a currency"),
        ("[prices]\nkwh = 1", "no table of rates"),
        ("[price]\ncurrency = 'EUR'\nwatt = 1", "nothing that"),
        ("[", "no TOML"),
        ("price = 3", "no table"),
    ],
)
def test_rates_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rates.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_rates(file)


def test_rates_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rates.toml"
    file.write_text(
        "[carbon]\ngrams-per-kwh = 400\nsource = 'Example'\nyear = 2025\n"
        "[idle]\nwatts-per-vcpu = 2\nsource = 'measured'\n"
        "[price]\ncurrency = 'EUR'\nvcpu-hour = 0.01\ngb-hour = 0.002\nkwh = 0.3\n"
    )
    assert read_rates(file) == RATES
    with pytest.raises(ConfigError, match="cannot be read"):
        read_rates(tmp_path / "none.toml")
