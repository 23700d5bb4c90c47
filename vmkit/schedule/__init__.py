"""When VMs should run, and what to do about it at an instant.

grammar     text to rules: vmkit's own; dialects: the downscalers'; cron: five fields
zones       time zones, and the instants at which wall-clock times happen
days        sets of days; calendars: holiday files
timetable   what is wanted at an instant, and the transitions; windows and edges: computed from rules
"""

from vmkit.schedule.calendars import parse_calendar, read_calendar
from vmkit.schedule.model import Schedule
from vmkit.schedule.parse import parse_schedule
from vmkit.schedule.timetable import Timetable, Transition, Wish

__all__ = ["Schedule", "Timetable", "Transition", "Wish", "parse_calendar", "parse_schedule", "read_calendar"]
