from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmkit.vm.mac import build_mac_address
from vmkit.vm.reference import VmRef

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_an_address_is_local_unicast_and_stays(namespace: str, name: str, interface: str) -> None:
    address = build_mac_address(VmRef(namespace, name), interface)
    octets = [int(text, 16) for text in address.split(":")]
    assert len(octets) == 6
    assert octets[0] & 0b11 == 0b10
    assert address == build_mac_address(VmRef(namespace, name), interface)


def test_names_cannot_run_into_each_other() -> None:
    addresses = {
        build_mac_address(VmRef("a", "bc"), "d"),
        build_mac_address(VmRef("ab", "c"), "d"),
        build_mac_address(VmRef("a", "b"), "cd"),
        build_mac_address(VmRef("a", "bc"), "d", salt="other"),
    }
    assert len(addresses) == 4


def test_ten_thousand_vms_share_no_address() -> None:
    assert len({build_mac_address(VmRef("fleet", f"vm-{number}")) for number in range(10_000)}) == 10_000
