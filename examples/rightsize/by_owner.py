"""Who could give back how much: the sizes VMs should have, added up by owner, as a Markdown table.

    python by_owner.py http://prometheus.monitoring:9090 > sizes.md

Reads the cluster of the current kubeconfig, every namespace; changes nothing. Owners are the label vmkit.io/owner,
else the namespace.
"""

import sys
from collections import defaultdict

from vmkit import Vmkit, VmkitError


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with Vmkit.connect() as vk:
        sizes = vk.insights(sys.argv[1]).sizes()
    freed: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in sizes.assessments:
        if one.proposal.changes:
            row = freed[one.facts.owner or one.ref.namespace]
            row[0] += 1
            row[1] += one.proposal.saved.cpu_millicores
            row[2] += one.proposal.saved.memory_bytes
    print("| Owner | VMs | CPUs | GiB |")
    print("|---|---:|---:|---:|")
    for owner, (vms, cpu, memory) in sorted(freed.items(), key=lambda item: -item[1][2]):
        print(f"| {owner} | {vms} | {cpu / 1000:g} | {memory / 2**30:.1f} |")
    for notice in sizes.notices:
        print(f"note: {notice}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VmkitError as error:
        sys.exit(f"{error}")
