"""Lists the VMs of a cluster, however many: python list_vms.py [NAMESPACE]"""

from __future__ import annotations

import sys

from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.vm.state import read_vm


def main(namespace: str | None = None) -> None:
    with Session.connect() as session:
        for document in session.list(VIRTUAL_MACHINES, namespace):
            vm = read_vm(document)
            print(f"{vm.ref}\t{vm.power}\t{vm.run_strategy}\t{vm.problem}".rstrip())


if __name__ == "__main__":
    main(*sys.argv[1:2])
