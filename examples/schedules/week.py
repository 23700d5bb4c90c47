"""Shows when a schedule starts and stops VMs in the coming week: python week.py SCHEDULE"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from vmkit import VmkitError, parse_schedule


def main(text: str, *, at: datetime | None = None) -> int:
    start = at or datetime.now(UTC)
    try:
        schedule = parse_schedule(text)
    except VmkitError as error:
        print(f"error: {error.message}; {error.hint}", file=sys.stderr)
        return int(error.exit_code)
    zone = schedule.zone.tzinfo if schedule.zone else UTC
    print(f"now {'on' if schedule.is_active(start) else 'off'}")
    for transition in schedule.transitions(start, start + timedelta(days=7)):
        print(f"{transition.at.astimezone(zone):%a %Y-%m-%d %H:%M %Z}  {transition.side}")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
