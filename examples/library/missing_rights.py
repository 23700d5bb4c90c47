"""Says which of vmkit's verbs these credentials may use: python missing_rights.py NAMESPACE"""

from __future__ import annotations

import sys

from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES

ASKED = (
    ("list", VIRTUAL_MACHINES, ""),
    ("update", VIRTUAL_MACHINES, "start"),
    ("update", VIRTUAL_MACHINES, "stop"),
    ("update", VIRTUAL_MACHINES, "restart"),
    ("update", VIRTUAL_MACHINE_INSTANCES, "pause"),
    ("delete", VIRTUAL_MACHINES, ""),
)


def main(namespace: str) -> int:
    missing = 0
    with Session.connect() as session:
        for verb, resource, subresource in ASKED:
            allowed = session.can_i(verb, resource, namespace, subresource=subresource)
            missing += not allowed
            name = f"{resource.plural}/{subresource}" if subresource else resource.plural
            print(f"{'yes' if allowed else 'no '}\t{verb}\t{name}")
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
