"""The ledger as tables, for programs, and as metrics of Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from vmkit.idle.ledger import Account, Page, Rates, Returned
from vmkit.idle.mark import format_instant
from vmkit.report.table import Column, render_csv, render_table
from vmkit.vm.reference import VmRef


def render_ledger(account: Account, *, wide: bool = False) -> str:
    """Owners, their sum, and what the figures rest on; ``wide`` adds the VMs."""
    rows = [*account.by_owner().items(), ("total", account.total)]
    columns: list[Column[tuple[str, Returned]]] = [Column("OWNER", lambda row: row[0])]
    columns += [_column(title, text, account.rates) for title, text in _figures(account.rates)]
    text = render_table(columns, rows)
    if wide:
        text += "\n" + render_table(_vm_columns(account.rates), account.by_vm().items())
    return text + "".join(f"{line}\n" for line in _basis(account))


def render_ledger_csv(account: Account) -> str:
    """One row for each VM."""
    return render_csv(_vm_columns(account.rates), account.by_vm().items())


def ledger_items(account: Account) -> list[dict[str, Any]]:
    """One for each VM, with its stretches off."""
    stretches: dict[tuple[VmRef, str], list[Page]] = {}
    for page in account.pages:
        stretches.setdefault((page.ref, page.owner), []).append(page)
    return [
        {
            "namespace": ref.namespace,
            "name": ref.name,
            "owner": owner,
            **returned.to_dict(account.rates),
            "off": [
                {
                    "begin": format_instant(each.begin),
                    "end": None if each.end is None else format_instant(each.end),
                    "code": each.code,
                }
                for page in stretches[ref, owner]
                for each in page.stretches
                if account.since is None or each.end is None or each.end > account.since
            ],
        }
        for (ref, owner), returned in account.by_vm().items()
    ]


def ledger_summary(account: Account) -> dict[str, Any]:
    """What the items add up to, and what the figures rest on."""
    rates = account.rates
    carbon = {"gramsPerKwh": rates.grams_per_kwh, "source": rates.carbon_source, "year": rates.carbon_year}
    idle = {"wattsPerVcpu": rates.idle_watts_per_vcpu, "source": rates.idle_source}
    return {
        "since": None if account.since is None else format_instant(account.since),
        "at": format_instant(account.at),
        "total": account.total.to_dict(rates),
        "owners": {owner: each.to_dict(rates) for owner, each in account.by_owner().items()},
        "carbonFactor": carbon if rates.grams_per_kwh is not None else None,
        "idlePower": idle if rates.idle_watts_per_vcpu is not None else None,
    }


def render_ledger_metrics(account: Account) -> str:
    """The text format of Prometheus: for each owner what has been returned so far."""
    owners, rates = account.by_owner(), account.rates
    lines = []
    for name, kind, text, value in _METRICS:
        numbers = {owner: value(returned, rates) for owner, returned in owners.items()}
        if all(number is None for number in numbers.values()):
            continue
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [
            f'{name}{{owner="{_escape(owner)}"}} {number:.10g}'
            for owner, number in numbers.items()
            if number is not None
        ]
    return "".join(f"{line}\n" for line in lines)


_Value = Callable[[Returned, Rates], float | None]
_METRICS: Final[Sequence[tuple[str, str, str, _Value]]] = (
    ("vmkit_ledger_stops", "gauge", "Times that VMs were turned off.", lambda one, rates: one.stops),
    ("vmkit_ledger_off_hours", "gauge", "Hours that VMs were off.", lambda one, rates: one.hours),
    ("vmkit_ledger_vcpu_hours", "gauge", "CPU-hours returned.", lambda one, rates: one.vcpu_hours),
    ("vmkit_ledger_memory_gigabyte_hours", "gauge", "GB-hours returned.", lambda one, rates: one.gb_hours),
    (
        "vmkit_ledger_active_kilowatt_hours", "gauge", "Active energy not used, as measured before.",
        lambda one, rates: one.active_kwh if one.metered_hours else None,
    ),
    (
        "vmkit_ledger_allocated_idle_kilowatt_hours", "gauge", "Idle energy, allocated by CPUs.",
        lambda one, rates: one.idle_kwh(rates),
    ),
    ("vmkit_ledger_co2_grams", "gauge", "CO2 of the active energy.", lambda one, rates: one.grams(rates)),
)  # fmt: skip


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_Text = Callable[[Returned, Rates], str]


def _figures(rates: Rates) -> Iterator[tuple[str, _Text]]:
    yield "STOPS", lambda one, rates: str(one.stops)
    yield "HOURS-OFF", lambda one, rates: f"{one.hours:.1f}"
    yield "VCPU-HOURS", lambda one, rates: f"{one.vcpu_hours:.1f}"
    yield "GB-HOURS", lambda one, rates: f"{one.gb_hours:.1f}"
    yield "ACTIVE-KWH", lambda one, rates: f"{one.active_kwh:.3f}" if one.metered_hours else ""
    if rates.idle_watts_per_vcpu is not None:
        yield "ALLOCATED-IDLE-KWH", lambda one, rates: f"{one.idle_kwh(rates) or 0:.3f}"
    if rates.grams_per_kwh is not None:
        yield "CO2-G", lambda one, rates: "" if (grams := one.grams(rates)) is None else f"{grams:.1f}"
    if rates.currency:
        yield rates.currency.upper(), lambda one, rates: f"{one.money(rates) or 0:.2f}"


def _column(title: str, text: _Text, rates: Rates) -> Column[tuple[str, Returned]]:
    return Column(title, lambda row: text(row[1], rates))


def _vm_columns(rates: Rates) -> list[Column[tuple[tuple[VmRef, str], Returned]]]:
    def figure(title: str, text: _Text) -> Column[tuple[tuple[VmRef, str], Returned]]:
        return Column(title, lambda row: text(row[1], rates))

    return [
        Column("NAMESPACE", lambda row: row[0][0].namespace),
        Column("NAME", lambda row: row[0][0].name),
        Column("OWNER", lambda row: row[0][1]),
        *(figure(title, text) for title, text in _figures(rates)),
    ]


def _basis(account: Account) -> Iterator[str]:
    total, rates = account.total, account.rates
    if total.metered_hours:
        share = total.metered_hours / total.hours
        sources = ", ".join(sorted(total.sources)) or "measured"
        yield f"active energy: {sources}, known for {share:.0%} of the hours"
    if rates.idle_watts_per_vcpu is not None:
        yield (
            f"allocated idle energy: {rates.idle_watts_per_vcpu:g} W for each CPU ({rates.idle_source}); it "
            "returns only once servers are off, and is part of no sum"
        )
    if rates.grams_per_kwh is not None:
        yield f"CO2: {rates.grams_per_kwh:g} g/kWh ({rates.carbon_source}, {rates.carbon_year}), of active energy"
