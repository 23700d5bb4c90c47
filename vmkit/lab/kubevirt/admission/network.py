"""What KubeVirt demands of interfaces and networks (pkg/network/admitter), in its order and words."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from vmkit.lab.kubevirt.admission.causes import DUPLICATE, INVALID, NOT_SUPPORTED, REQUIRED, Cause

Object = dict[str, Any]

_BINDINGS: Final = ("bridge", "masquerade", "sriov", "passtBinding")
_DISCONTINUED: Final = (
    ("slirp", "Slirp interface support has been discontinued since v1.3"),
    ("macvtap", "Macvtap network binding has been discontinued since v1.3"),
    ("passt", "Passt network binding has been discontinued since v1.3"),
)
_MODELS: Final = frozenset({"e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139", "virtio"})
_NAME: Final = re.compile(r"[A-Za-z0-9-_]+")
_PORT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_MAC: Final = re.compile(
    r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"
)
_LONG_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){7}(?:(?::[0-9a-fA-F]{2}){12})?")
_IN_POD_BRIDGE_MAC: Final = "02:00:00:00:00:00"
PCI_ADDRESS: Final = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-1][0-9a-fA-F]\.[0-7]")
_LIMIT: Final = 256


def validate_network(spec: Object, field: str) -> list[Cause]:
    """The causes a VMI spec's interfaces and networks give.

    Args:
        spec: the VMI spec, defaults filled in.
        field: its path, "spec.template.spec" or "spec".
    """
    interfaces: list[Object] = spec.get("domain", {}).get("devices", {}).get("interfaces") or []
    networks: list[Object] = spec.get("networks") or []
    where = f"{field}.domain.devices.interfaces"
    if len(interfaces) > _LIMIT:
        return [Cause(f"{where} list exceeds the {_LIMIT} element limit in length", where)]
    if len(networks) > _LIMIT:
        return [Cause(f"{field}.networks list exceeds the {_LIMIT} element limit in length", f"{field}.networks")]
    by_name = {network.get("name", ""): network for network in networks}
    return [
        *_pod_network(networks, field),
        *_network_sources(networks, field),
        *_interface_states(interfaces, where),
        *_bindings(interfaces, by_name, where),
        *_names(interfaces, networks, where, field),
        *_fields(interfaces, by_name, where),
    ]


def _pod_network(networks: list[Object], field: str) -> list[Cause]:
    causes = []
    pods = sum("pod" in network for network in networks)
    defaults = sum(bool((network.get("multus") or {}).get("default")) for network in networks)
    if pods > 1:
        causes.append(
            Cause(
                f"more than one interface is connected to a pod network in {field}.interfaces",
                f"{field}.interfaces",
                DUPLICATE,
            )
        )
    if defaults > 1:
        causes.append(Cause("Multus CNI should only have one default network", f"{field}.networks"))
    if pods and defaults:
        causes.append(
            Cause("Pod network cannot be defined when Multus default network is defined", f"{field}.networks")
        )
    return causes


def _network_sources(networks: list[Object], field: str) -> list[Cause]:
    causes = []
    for index, network in enumerate(networks):
        kinds = sum(kind in network for kind in ("pod", "multus", "resourceClaim"))
        where = f"{field}.networks[{index}]"
        if kinds == 0:
            causes.append(Cause("should have a network type", where, REQUIRED))
        elif kinds > 1:
            causes.append(Cause("should have only one network type", where, REQUIRED))
    for index, network in enumerate(networks):
        if "multus" in network and not network["multus"].get("networkName"):
            causes.append(
                Cause("CNI delegating plugin must have a networkName", f"{field}.networks[{index}]", REQUIRED)
            )
            break  # KubeVirt stops at the first
    return causes


def _interface_states(interfaces: list[Object], where: str) -> list[Cause]:
    causes = []
    for index, interface in enumerate(interfaces):
        name, state = interface.get("name", ""), interface.get("state", "")
        at = f"{where}[{index}].state"
        if state not in ("", "up", "down", "absent"):
            causes.append(Cause(f"logical {name} interface state value is unsupported: {state}", at))
        elif state == "absent" and "bridge" not in interface and "binding" not in interface:
            causes.append(
                Cause(f'"{name}" interface\'s state "absent" is supported only for bridge binding', at, INVALID)
            )
    return causes


def _bindings(interfaces: list[Object], by_name: dict[str, Object], where: str) -> list[Cause]:
    causes = []
    for index, interface in enumerate(interfaces):
        network = by_name.get(interface.get("name", ""), {})
        at = f"{where}[{index}]"
        discontinued = [text for kind, text in _DISCONTINUED if kind in interface]
        causes += [Cause(text, f"{at}.name", NOT_SUPPORTED) for text in discontinued]
        chosen = sum(kind in interface for kind in (*_BINDINGS, "binding"))
        if chosen != 1 and not discontinued:
            causes.append(
                Cause(
                    f"logical {interface.get('name', '')} interface must have exactly one binding method or "
                    "binding plugin",
                    at,
                )
            )
        if "masquerade" in interface:
            if "pod" not in network:
                causes.append(Cause("Masquerade interface only implemented with pod network", f"{at}.name"))
            if str(interface.get("macAddress", "")).lower() == _IN_POD_BRIDGE_MAC:
                causes.append(
                    Cause(
                        "The requested MAC address is reserved for the in-pod bridge. Please choose another one.",
                        f"{at}.macAddress",
                    )
                )
    return causes


def _names(interfaces: list[Object], networks: list[Object], where: str, field: str) -> list[Cause]:
    causes = []
    seen: set[str] = set()
    for index, network in enumerate(networks):
        name = network.get("name", "")
        if name in seen:
            causes.append(
                Cause(
                    f'Network with name "{name}" already exists, every network must have a unique name',
                    f"{field}.networks[{index}].name",
                    DUPLICATE,
                )
            )
        seen.add(name)
    connected = {interface.get("name", "") for interface in interfaces}
    for index, network in enumerate(networks):
        name = network.get("name", "")
        if name not in connected:
            at = f"{field}.networks[{index}].name"
            causes.append(Cause(f"{at} '{name}' not found.", at, REQUIRED))
    used: set[str] = set()
    for index, interface in enumerate(interfaces):
        name = interface.get("name", "")
        if name in used:
            causes.append(
                Cause(
                    "Only one interface can be connected to one specific network",
                    f"{where}[{index}].name",
                    DUPLICATE,
                )
            )
        used.add(name)
    for index, interface in enumerate(interfaces):
        name = interface.get("name", "")
        if name not in seen:
            at = f"{where}[{index}].name"
            causes.append(Cause(f"{at} '{name}' not found.", at))
    return causes


def _fields(interfaces: list[Object], by_name: dict[str, Object], where: str) -> list[Cause]:
    causes = []
    for index, interface in enumerate(interfaces):
        at = f"{where}[{index}]"
        name = interface.get("name", "")
        if not _NAME.fullmatch(name):
            causes.append(
                Cause(
                    "Network interface name can only contain alphabetical characters, numbers, dashes (-) or "
                    "underscores (_)",
                    f"{at}.name",
                )
            )
        model = interface.get("model", "")
        if model and model not in _MODELS:
            causes.append(
                Cause(
                    f"interface {at}.name uses model {model} that is not supported.", f"{at}.model", NOT_SUPPORTED
                )
            )
        mac = str(interface.get("macAddress", ""))
        if mac and _LONG_MAC.fullmatch(mac):
            causes.append(
                Cause(f"interface {at}.name has MAC address ({mac}) that is too long.", f"{at}.macAddress")
            )
        elif mac and not _MAC.fullmatch(mac):
            causes.append(Cause(f"interface {at}.name has malformed MAC address ({mac}).", f"{at}.macAddress"))
        address = interface.get("pciAddress", "")
        if address and not PCI_ADDRESS.fullmatch(address):
            causes.append(Cause(f"interface {at}.name has malformed PCI address ({address}).", f"{at}.pciAddress"))
        if "pod" in by_name.get(name, {}):
            causes += _ports(interface.get("ports") or [], at)
        causes += _dhcp(interface.get("dhcpOptions") or {}, at)
    return causes


def _ports(ports: list[Object], at: str) -> list[Cause]:
    causes = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name", "")
        if not name:
            continue
        if name in names:
            causes.append(Cause(f"Duplicate name of the port: {name}", f"{at}.ports[{index}].name", DUPLICATE))
        if len(name) > 15 or not _PORT_NAME.fullmatch(name) or "--" in name or name.replace("-", "").isdigit():
            causes.append(Cause(f"Invalid name of the port: {name}", f"{at}.ports[{index}].name"))
        names.add(name)
    for index, port in enumerate(ports):
        here = f"{at}.ports[{index}]"
        number = port.get("port", 0)
        if number == 0:
            causes.append(Cause("Port field is mandatory.", here, REQUIRED))
        if number < 0 or number > 65536:
            causes.append(Cause("Port field must be in range 0 < x < 65536.", here))
        if port.get("protocol", "TCP") not in ("TCP", "UDP"):
            causes.append(Cause("Unknown protocol, only TCP or UDP allowed", f"{here}.protocol"))
    return causes


def _dhcp(options: Object, at: str) -> list[Cause]:
    causes = []
    private = [option.get("option") for option in options.get("privateOptions") or []]
    if len(private) != len(set(private)):
        causes.append(Cause("Found Duplicates: you have provided duplicate DHCPPrivateOptions", at))
    causes += [
        Cause("provided DHCPPrivateOptions are out of range, must be in range 224 to 254", at)
        for number in private
        if not 224 <= (number or 0) <= 254
    ]
    for index, server in enumerate(options.get("ntpServers") or []):
        try:
            ipaddress.IPv4Address(server)
        except ValueError:
            causes.append(
                Cause(
                    "NTP servers must be a list of valid IPv4 addresses.", f"{at}.dhcpOptions.ntpServers[{index}]"
                )
            )
    return causes
