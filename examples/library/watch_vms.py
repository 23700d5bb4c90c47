"""Prints what the VMs of a namespace do, as they do it: python watch_vms.py NAMESPACE [SECONDS]"""

from __future__ import annotations

import sys

from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.vm.state import read_vm


def main(namespace: str, seconds: str = "60") -> None:
    last: dict[str, str] = {}
    with Session.connect() as session:
        for event in session.watch(VIRTUAL_MACHINES, namespace, timeout_seconds=float(seconds)):
            vm = read_vm(event.object)
            state = "deleted" if event.type == "DELETED" else vm.printable_status or str(vm.power)
            if last.get(vm.uid) != state:
                last[vm.uid] = state
                print(f"{vm.ref}\t{state}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
