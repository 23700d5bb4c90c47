"""A history of use and energy for a real Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

_DAY = 86_400
_SCRAPE = 150
_GIB = 2**30


def write_history(namespace: str, names: Collection[str], now: float) -> Iterator[str]:
    """Ten days, and one of the future, because a practice cluster's clock may run ahead: half a core, two GiB and
    ten watts for each VM."""
    instants = range(int(now) - 10 * _DAY, int(now) + _DAY, _SCRAPE)
    first = instants[0]

    def family(name: str, kind: str, labels: Callable[[str], str], value: Callable[[int], float]) -> str:
        head = f"# TYPE {name.removesuffix('_total') if kind == 'counter' else name} {kind}\n"
        return head + "".join(f"{name}{{{labels(vm)}}} {value(at)} {at}\n" for vm in names for at in instants)

    def guest(vm: str) -> str:
        return f'namespace="{namespace}",name="{vm}",node="n"'

    def launcher(vm: str) -> str:
        pod = f'pod_namespace="{namespace}",pod_name="virt-launcher-{vm}-abcde"'
        return f'{pod},node_name="n",zone="package",state="running"'

    yield family("kubevirt_vmi_cpu_usage_seconds_total", "counter", guest, lambda at: 0.5 * (at - first))
    yield family("kubevirt_vmi_memory_available_bytes", "gauge", guest, lambda _: 8 * _GIB)
    yield family("kubevirt_vmi_memory_usable_bytes", "gauge", guest, lambda _: 6 * _GIB)
    yield family("kepler_pod_cpu_joules_total", "counter", launcher, lambda at: 10.0 * (at - first))
    yield "# EOF\n"
