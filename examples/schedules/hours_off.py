"""Works out for how many hours a year schedules let VMs sleep: python hours_off.py SCHEDULE..."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from vmkit import parse_schedule


def hours_on(text: str, start: datetime, end: datetime) -> float:
    schedule = parse_schedule(text)
    active, since, on = schedule.is_active(start), start, timedelta()
    for at, becomes_active in schedule.transitions(start, end):
        on += at - since if active else timedelta()
        active, since = becomes_active, at
    on += end - since if active else timedelta()
    return on / timedelta(hours=1)


def main(*texts: str) -> None:
    start, end = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    whole = (end - start) / timedelta(hours=1)
    for text in texts:
        off = whole - hours_on(text, start, end)
        print(f"{off:5.0f} h off, {off / whole:4.0%}  {text}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("Mon-Fri 08:00-18:00 Europe/Berlin", "Mon-Sat 06:00-22:00 Europe/Berlin")))
