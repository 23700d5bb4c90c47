"""The instance types and preferences every KubeVirt brings along (kubevirt/common-instancetypes v1.7.0).

The series are described by their rule (vCPUs and memory of each size); the objects are built from it.
"""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]

GROUP: Final = "instancetype.kubevirt.io"
API_VERSION: Final = f"{GROUP}/v1beta1"
CATALOGUE_VERSION: Final = "v1.7.0"

_U1: Final = {
    "nano": (1, "512Mi"), "micro": (1, "1Gi"), "small": (1, "2Gi"), "medium": (1, "4Gi"), "2xmedium": (2, "4Gi"),
    "large": (2, "8Gi"), "xlarge": (4, "16Gi"), "2xlarge": (8, "32Gi"), "4xlarge": (16, "64Gi"),
    "8xlarge": (32, "128Gi"),
}  # fmt: skip
_BY_SIZE: Final = {"medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32}

_SERIES: Final[dict[str, tuple[str, str]]] = {
    "u1": ("General Purpose", "Universal: fair shares of a core, four GiB for each vCPU"),
    "o1": ("Overcommitted", "Like u1, with memory overcommitted to fit more on a node"),
    "cx1": ("Compute Exclusive", "Processors of its own, two GiB of huge pages for each vCPU"),
    "m1": ("Memory Intensive", "Eight GiB of huge pages for each vCPU"),
    "n1": ("Network", "For network functions: processors of its own and huge pages"),
    "rt1": ("Realtime", "For real-time guests: pinned processors, huge pages, no page faults"),
}


def _labels(series: str, size: str, cpu: int, memory: str) -> Object:
    labels = {
        "instancetype.kubevirt.io/class": _SERIES[series][0].lower().replace(" ", "."),
        "instancetype.kubevirt.io/common-instancetypes-version": CATALOGUE_VERSION,
        "instancetype.kubevirt.io/cpu": str(cpu),
        "instancetype.kubevirt.io/memory": memory,
        "instancetype.kubevirt.io/size": size,
        "instancetype.kubevirt.io/vendor": "kubevirt.io",
        "instancetype.kubevirt.io/version": series[-1],
    }
    if series in ("cx1", "n1", "rt1"):
        labels["instancetype.kubevirt.io/dedicatedCPUPlacement"] = "true"
    if series in ("cx1", "m1", "n1", "rt1"):
        labels["instancetype.kubevirt.io/hugepages"] = "true"
    return labels


def _instancetype(series: str, size: str, cpu: int, memory: str, *, huge_page: str = "") -> Object:
    spec: Object = {"cpu": {"guest": cpu}, "memory": {"guest": memory}}
    if huge_page:
        spec["memory"]["hugepages"] = {"pageSize": huge_page}
    if series == "o1":
        spec["memory"]["overcommitPercent"] = 50
    if series in ("cx1", "n1", "rt1"):
        spec["cpu"].update(dedicatedCPUPlacement=True, isolateEmulatorThread=True)
        spec["ioThreadsPolicy"] = "auto"
        spec["annotations"] = {"cpu-load-balancing.crio.io": "disable", "cpu-quota.crio.io": "disable"}
        if series != "n1":
            spec["cpu"]["numa"] = {"guestMappingPassthrough": {}}
    if series == "rt1":
        spec["cpu"]["realtime"] = {}
    name = f"{series}.{size}" + ("1gi" if huge_page == "1Gi" and series == "cx1" else "")
    title, text = _SERIES[series]
    return {
        "apiVersion": API_VERSION,
        "kind": "VirtualMachineClusterInstancetype",
        "metadata": {
            "name": name,
            "labels": _labels(series, size, cpu, memory),
            "annotations": {
                "instancetype.kubevirt.io/description": text,
                "instancetype.kubevirt.io/displayName": title,
            },
        },
        "spec": spec,
    }


def build_instancetypes() -> list[Object]:
    """Every common cluster instance type, by name."""
    found = [
        _instancetype(series, size, cpu, memory) for series in ("u1", "o1") for size, (cpu, memory) in _U1.items()
    ]
    for size, cpu in _BY_SIZE.items():
        found += [
            _instancetype("cx1", size, cpu, f"{cpu * 2}Gi", huge_page="2Mi"),
            _instancetype("cx1", size, cpu, f"{cpu * 2}Gi", huge_page="1Gi"),
            _instancetype("n1", size, cpu, f"{cpu * 4}Gi", huge_page="1Gi"),
        ]
        if size != "medium":
            found.append(_instancetype("m1", size, cpu, f"{cpu * 8}Gi", huge_page="2Mi"))
        found.append(_instancetype("rt1", size, cpu, f"{cpu * 4}Gi", huge_page="1Gi"))
    found += [
        _instancetype("rt1", size, 1, memory, huge_page="1Gi")
        for size, memory in (("micro", "1Gi"), ("small", "2Gi"))
    ]
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))


_LINUX_DEVICES: Final = {
    "preferredDiskBus": "virtio",
    "preferredInterfaceModel": "virtio",
    "preferredRng": {},
}
_LEGACY_DEVICES: Final = {"preferredDiskBus": "sata", "preferredInterfaceModel": "e1000"}
_WINDOWS_DEVICES: Final = {
    "preferredAutoattachInputDevice": True,
    "preferredDiskBus": "sata",
    "preferredInputBus": "usb",
    "preferredInputType": "tablet",
    "preferredInterfaceModel": "e1000e",
    "preferredTPM": {"persistent": True},
}
_HYPERV: Final = {
    "frequencies": {}, "ipi": {}, "reenlightenment": {}, "relaxed": {}, "reset": {}, "runtime": {},
    "spinlocks": {"spinlocks": 8191}, "synic": {}, "synictimer": {"direct": {}}, "tlbflush": {}, "vapic": {},
    "vpindex": {},
}  # fmt: skip
_LINUX: Final[dict[str, tuple[str, int, str]]] = {
    "alpine": ("Alpine Linux", 1, "512Mi"), "centos.stream9": ("CentOS Stream 9", 1, "1536Mi"),
    "centos.stream10": ("CentOS Stream 10", 1, "1536Mi"), "cirros": ("Cirros", 1, "256Mi"),
    "debian": ("Debian", 1, "1Gi"), "fedora": ("Fedora (amd64)", 1, "2Gi"), "linux": ("Generic Linux", 1, "256Mi"),
    "linux.efi": ("Generic Linux with EFI", 1, "256Mi"), "opensuse.leap": ("OpenSUSE Leap", 1, "1Gi"),
    "opensuse.tumbleweed": ("OpenSUSE Tumbleweed", 1, "1Gi"), "oraclelinux": ("Oracle Linux", 1, "1536Mi"),
    "rhel.8": ("Red Hat Enterprise Linux 8", 1, "1536Mi"), "rhel.9": ("Red Hat Enterprise Linux 9", 1, "1536Mi"),
    "rhel.10": ("Red Hat Enterprise Linux 10", 1, "1536Mi"), "sles": ("SUSE Linux Enterprise Server", 1, "1Gi"),
    "ubuntu": ("Ubuntu", 2, "2Gi"),
}  # fmt: skip
_WINDOWS: Final[dict[str, tuple[str, int, str]]] = {
    "windows.10": ("Microsoft Windows 10", 1, "2Gi"), "windows.11": ("Microsoft Windows 11", 2, "4Gi"),
    "windows.2k16": ("Microsoft Windows Server 2016", 1, "512Mi"),
    "windows.2k19": ("Microsoft Windows Server 2019", 1, "2Gi"),
    "windows.2k22": ("Microsoft Windows Server 2022", 1, "2Gi"),
    "windows.2k25": ("Microsoft Windows Server 2025", 1, "2Gi"),
}  # fmt: skip


def build_preferences() -> list[Object]:
    """The common cluster preferences, by name."""
    found = []
    for name, (title, cpu, memory) in _LINUX.items():
        spec: Object = {"devices": dict(_LINUX_DEVICES), "requirements": _requirements(cpu, memory)}
        if name.startswith(("centos", "fedora", "rhel", "linux.efi", "oraclelinux")):
            spec["firmware"] = {"preferredEfi": {"secureBoot": name != "linux.efi"}}
            if name != "linux.efi":
                spec["features"] = {"preferredSmm": {}}
        found.append(_preference(name, title, "linux", spec))
    found.append(_preference("legacy", "Legacy guest", "legacy", {"devices": dict(_LEGACY_DEVICES)}))
    for name, (title, cpu, memory) in _WINDOWS.items():
        for virtio in (False, True):
            devices = dict(_WINDOWS_DEVICES)
            if virtio:
                devices.update(
                    preferredDiskBus="virtio", preferredInterfaceModel="virtio", preferredInputBus="virtio"
                )
            spec = {
                "clock": {"preferredClockOffset": {"utc": {}}},
                "cpu": {"preferredCPUTopology": "sockets"},
                "devices": devices,
                "features": {
                    "preferredAcpi": {},
                    "preferredApic": {},
                    "preferredHyperv": _HYPERV,
                    "preferredSmm": {},
                },
                "firmware": {"preferredEfi": {"persistent": True, "secureBoot": True}},
                "preferredTerminationGracePeriodSeconds": 3600,
                "requirements": _requirements(cpu, memory),
            }
            suffix, extra = (".virtio", " (virtio)") if virtio else ("", "")
            found.append(_preference(name + suffix, title + extra, "windows", spec))
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))


def _requirements(cpu: int, memory: str) -> Object:
    return {"cpu": {"guest": cpu}, "memory": {"guest": memory}}


def _preference(name: str, title: str, system: str, spec: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "VirtualMachineClusterPreference",
        "metadata": {
            "name": name,
            "labels": {
                "instancetype.kubevirt.io/common-instancetypes-version": CATALOGUE_VERSION,
                "instancetype.kubevirt.io/os-type": system,
                "instancetype.kubevirt.io/vendor": "kubevirt.io",
            },
            "annotations": {
                "openshift.io/display-name": title,
                "openshift.io/provider-display-name": "KubeVirt",
            },
        },
        "spec": spec,
    }
