# ruff: noqa: E501 - one metric a line reads best
"""What virt-handler exports of a running instance.

Source: KubeVirt pkg/monitoring/metrics/virt-handler/domainstats/*.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from vmkit.lab.metrics.load import fraction, wave
from vmkit.lab.metrics.model import Family, Read, RunSeries, Variant, join_labels, render_labels

_PAGE = 4096
_PACKET = 850.0
_READ_BYTES, _WRITE_BYTES = 24_000.0, 14_000.0
_MIB = 1024.0**2

Build = Callable[[RunSeries], Iterator[Variant]]


def _plain(value: Callable[[RunSeries, float], float]) -> Build:
    def build(series: RunSeries) -> Iterator[Variant]:
        yield series.base, partial(value, series)

    return build


def _per_cpu(value: Callable[[RunSeries, float], float], state: str = "") -> Build:
    def build(series: RunSeries) -> Iterator[Variant]:
        for number in range(series.guest.vcpus):
            labels = {"id": str(number)} | ({"state": state} if state else {})
            yield join_labels(series.base, render_labels(labels)), partial(value, series)

    return build


def _per_interface(value: Callable[[RunSeries, float], float]) -> Build:
    def build(series: RunSeries) -> Iterator[Variant]:
        for index, name in enumerate(series.guest.interfaces):
            labels = join_labels(series.base, render_labels({"interface": name}))
            # The first interface carries the work, the others a tenth of it each.
            yield labels, partial(_scaled, value, series, 1.0 if index == 0 else 0.1)

    return build


def _per_drive(value: Callable[[RunSeries, float], float]) -> Build:
    def build(series: RunSeries) -> Iterator[Variant]:
        drives = series.guest.drives
        for index, drive in enumerate(drives):
            labels = join_labels(series.base, render_labels({"drive": drive.name}))
            # A data disk takes most of the work where there is one; the root disk all of it otherwise.
            share = 1.0 if len(drives) == 1 else (0.3 if index == 0 else 0.7 / (len(drives) - 1))
            yield labels, partial(_scaled, value, series, share)

    return build


def _scaled(value: Callable[[RunSeries, float], float], series: RunSeries, share: float, at: float) -> float:
    return value(series, at) * share


# --- memory ---------------------------------------------------------------------------------------


def used_share(series: RunSeries, at: float) -> float:
    """The share of a guest's memory in use, 0 to 1: a level of its own, its work's part, and for some a slow
    leak."""
    own, leaks = series.memory_level
    drift = 0.06 * wave(series.seed, series.guest.key, "memory", at)
    work = 0.25 * min(1.0, series.cpu.intensity(at) * 1.5)
    leak = min(0.3, (at - series.run.boot) / 86400 * 0.01) if leaks else 0.0
    return min(0.97, own + drift + work + leak)


def _used(series: RunSeries, at: float) -> float:
    return round(_available(series, at) * used_share(series, at) / _PAGE) * _PAGE


def _available(series: RunSeries, at: float) -> float:
    return series.guest.memory_bytes - 48 * _MIB


def _cached(series: RunSeries, at: float) -> float:
    free = _available(series, at) - _used(series, at)
    return round(free * (0.5 + 0.3 * wave(series.seed, series.guest.key, "cache", at)) / _PAGE) * _PAGE


def _usable(series: RunSeries, at: float) -> float:
    return _available(series, at) - _used(series, at)


def _unused(series: RunSeries, at: float) -> float:
    return _usable(series, at) - _cached(series, at)


def _resident(series: RunSeries, at: float) -> float:
    # The launcher keeps what the guest has ever touched: page cache makes that nearly everything in days.
    touched = min(1.0, 0.4 + (at - series.run.boot) / (5 * 86400))
    return round(series.guest.memory_bytes * touched / _PAGE) * _PAGE + 90 * _MIB


def _domain(series: RunSeries, at: float) -> float:
    return float(series.guest.memory_bytes)


# --- counters -------------------------------------------------------------------------------------


def _user(series: RunSeries, at: float) -> float:
    return series.cpu_seconds(at) * 0.66


def _system(series: RunSeries, at: float) -> float:
    return series.cpu_seconds(at) * 0.34


def _cpu_share(series: RunSeries, at: float) -> float:
    return series.cpu_seconds(at) / series.guest.vcpus


def _delay(series: RunSeries, at: float) -> float:
    return _cpu_share(series, at) * 0.012


def _wait(series: RunSeries, at: float) -> float:
    return series.read.done(at) * 0.008


def _received(series: RunSeries, at: float) -> float:
    return series.receive.done(at) * series.guest.shape.network


def _sent(series: RunSeries, at: float) -> float:
    return series.transmit.done(at) * series.guest.shape.network * 0.6


def _was_read(series: RunSeries, at: float) -> float:
    return series.read.done(at) * series.guest.shape.disk


def _written(series: RunSeries, at: float) -> float:
    return series.write.done(at) * series.guest.shape.disk * 0.7


def _whole(value: Callable[[RunSeries, float], float], unit: float) -> Callable[[RunSeries, float], float]:
    def counted(series: RunSeries, at: float) -> float:
        return float(int(value(series, at) / unit))

    return counted


def _times(value: Callable[[RunSeries, float], float], factor: float) -> Callable[[RunSeries, float], float]:
    def timed(series: RunSeries, at: float) -> float:
        return value(series, at) * factor

    return timed


# --- only with a guest agent ----------------------------------------------------------------------


def _load(minutes: int) -> Build:
    def build(series: RunSeries) -> Iterator[Variant]:
        if series.guest.agent:
            yield series.base, partial(_load_at, series, minutes * 60.0)

    return build


def _load_at(series: RunSeries, window: float, at: float) -> float:
    start = max(series.run.start, at - window)
    span = max(1.0, at - start)
    return round((series.cpu.done(at) - series.cpu.done(start)) / span * series.guest.vcpus * 1.1, 2)


def _filesystems(read: Callable[[RunSeries, int, float], float]) -> Build:
    def build(series: RunSeries) -> Iterator[Variant]:
        if not series.guest.agent:
            return
        for index, drive in enumerate(series.guest.drives[:2]):
            labels = {
                "disk_name": f"{drive.device}1",
                "mount_point": "/" if index == 0 else "/var/lib/data",
                "file_system_type": "ext4" if index == 0 else "xfs",
            }
            yield join_labels(series.base, render_labels(labels)), partial(read, series, index)

    return build


def _fs_capacity(series: RunSeries, index: int, at: float) -> float:
    return float(int(series.guest.drives[index].size_bytes * 0.97))


def _fs_used(series: RunSeries, index: int, at: float) -> float:
    level = 0.2 + 0.5 * fraction(series.seed, series.guest.key, "disk", index)
    growth = min(0.25, (at - series.guest.created) / 86400 * 0.0006)
    return float(int(series.guest.drives[index].size_bytes * (level + growth)))


INSTANCE_FAMILIES: Mapping[Family, Build] = {
    Family(f"kubevirt_vmi_{name}", kind, text): build  # type: ignore[arg-type]
    for name, kind, text, build in (
        ("cpu_usage_seconds_total", "counter", "Total CPU time spent in all modes (sum of both vcpu and hypervisor usage).", _plain(RunSeries.cpu_seconds)),
        ("cpu_user_usage_seconds_total", "counter", "Total CPU time spent in user mode.", _plain(_user)),
        ("cpu_system_usage_seconds_total", "counter", "Total CPU time spent in system mode.", _plain(_system)),
        ("vcpu_seconds_total", "counter", "Total amount of time spent in each state by each vcpu.", _per_cpu(_cpu_share, "running")),
        ("vcpu_wait_seconds_total", "counter", "Amount of time spent by each vcpu while waiting on I/O.", _per_cpu(_wait)),
        ("vcpu_delay_seconds_total", "counter", "Amount of time spent by each vcpu waiting in the queue instead of running.", _per_cpu(_delay)),
        ("memory_resident_bytes", "gauge", "Resident set size of the process running the domain.", _plain(_resident)),
        ("memory_available_bytes", "gauge", "Amount of usable memory as seen by the domain.", _plain(_available)),
        ("memory_unused_bytes", "gauge", "The amount of memory left completely unused by the system.", _plain(_unused)),
        ("memory_usable_bytes", "gauge", "The amount of memory which can be reclaimed by balloon without pushing the guest system to swap.", _plain(_usable)),
        ("memory_cached_bytes", "gauge", "The amount of memory that is being used to cache I/O and is available to be reclaimed.", _plain(_cached)),
        ("memory_domain_bytes", "gauge", "The amount of memory in bytes allocated to the domain.", _plain(_domain)),
        ("memory_actual_balloon_bytes", "gauge", "Current balloon size in bytes.", _plain(_domain)),
        ("memory_pgmajfault_total", "counter", "The number of page faults when disk IO was required.", _plain(_whole(_was_read, 9e6))),
        ("memory_pgminfault_total", "counter", "The number of other page faults, when disk IO was not required.", _plain(_whole(RunSeries.cpu_seconds, 0.004))),
        ("memory_swap_in_traffic_bytes", "gauge", "The total amount of data read from swap space of the guest in bytes.", _plain(lambda series, at: 0.0)),
        ("memory_swap_out_traffic_bytes", "gauge", "The total amount of memory written out to swap space of the guest in bytes.", _plain(lambda series, at: 0.0)),
        ("network_receive_bytes_total", "counter", "Total network traffic received in bytes.", _per_interface(_whole(_received, 1))),
        ("network_transmit_bytes_total", "counter", "Total network traffic transmitted in bytes.", _per_interface(_whole(_sent, 1))),
        ("network_receive_packets_total", "counter", "Total network traffic received packets.", _per_interface(_whole(_received, _PACKET))),
        ("network_transmit_packets_total", "counter", "Total network traffic transmitted packets.", _per_interface(_whole(_sent, _PACKET))),
        ("network_receive_errors_total", "counter", "Total network received error packets.", _per_interface(lambda series, at: 0.0)),
        ("network_transmit_errors_total", "counter", "Total network transmitted error packets.", _per_interface(lambda series, at: 0.0)),
        ("network_receive_packets_dropped_total", "counter", "The total number of rx packets dropped on vNIC interfaces.", _per_interface(_whole(_received, _PACKET * 2e5))),
        ("network_transmit_packets_dropped_total", "counter", "The total number of tx packets dropped on vNIC interfaces.", _per_interface(lambda series, at: 0.0)),
        ("storage_iops_read_total", "counter", "Total number of I/O read operations.", _per_drive(_whole(_was_read, _READ_BYTES))),
        ("storage_iops_write_total", "counter", "Total number of I/O write operations.", _per_drive(_whole(_written, _WRITE_BYTES))),
        ("storage_read_traffic_bytes_total", "counter", "Total number of bytes read from storage.", _per_drive(_whole(_was_read, 1))),
        ("storage_write_traffic_bytes_total", "counter", "Total number of written bytes.", _per_drive(_whole(_written, 1))),
        ("storage_read_times_seconds_total", "counter", "Total time spent on read operations.", _per_drive(_times(_was_read, 2.5e-8))),
        ("storage_write_times_seconds_total", "counter", "Total time spent on write operations.", _per_drive(_times(_written, 6e-8))),
        ("storage_flush_requests_total", "counter", "Total storage flush requests.", _per_drive(_whole(_written, _WRITE_BYTES * 6))),
        ("storage_flush_times_seconds_total", "counter", "Total time spent on cache flushing.", _per_drive(_times(_written, 1e-8))),
        ("filesystem_capacity_bytes", "gauge", "Total VM filesystem capacity in bytes.", _filesystems(_fs_capacity)),
        ("filesystem_used_bytes", "gauge", "Used VM filesystem capacity in bytes.", _filesystems(_fs_used)),
        ("guest_load_1m", "gauge", "Guest system load average over 1 minute as reported by the guest agent.", _load(1)),
        ("guest_load_5m", "gauge", "Guest system load average over 5 minutes as reported by the guest agent.", _load(5)),
        ("guest_load_15m", "gauge", "Guest system load average over 15 minutes as reported by the guest agent.", _load(15)),
        ("memory_used_bytes", "gauge", "Amount of used memory as seen by the domain.", _plain(_used)),
    )
}  # fmt: skip

RULES: Mapping[Family, Build] = {
    Family("vmi:kubevirt_vmi_memory_used_bytes:sum", "gauge", "Amount of used memory as seen by the domain."): _plain(_used),
    Family("vmi:kubevirt_vmi_vcpu:count", "gauge", "The number of the VMI vCPUs."): _plain(lambda series, at: float(series.guest.vcpus)),
}  # fmt: skip

__all__ = ["INSTANCE_FAMILIES", "RULES", "Build", "Read", "used_share"]
