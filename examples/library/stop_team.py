"""Stops the VMs of a team and waits until they are off: python stop_team.py NAMESPACE LABEL_SELECTOR"""

from __future__ import annotations

import sys

from vmkit.cluster import Session
from vmkit.power import PowerOptions, Selection, Verb, run_power
from vmkit.units import parse_limit


def main(namespace: str, label_selector: str) -> int:
    with Session.connect() as session:
        result = run_power(
            session,
            Verb.STOP,
            Selection(namespace=namespace, label_selector=label_selector),
            PowerOptions(wait=True, timeout_seconds=300, max_changes=parse_limit("50")),
            on_progress=lambda ref, text: print(f"{ref}: {text}", file=sys.stderr),
        )
    for outcome in result.outcomes:
        print(f"{outcome.target.path}\t{outcome.status}\t{outcome.reason.text}")
    return int(result.exit_code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
