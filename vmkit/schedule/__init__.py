"""When VMs should run, and what to do about it at an instant. All of it is pure, but for reading calendar files
and what stands in the last two lines.

grammar      text to rules: vmkit's own; dialects: the downscalers'; cron: five fields; scan: words and columns
zones        time zones, and the instants at which wall-clock times happen
days         sets of days; calendars: holiday files
rules        the parts of a schedule; windows and edges compute instants from them
timetable    what is wanted at an instant, and the transitions; model: a schedule; compose: several as one
sources      where schedules are written and which holds; downscaler: the annotations of other tools
facts        what deciding needs to know of a VM; state: what is remembered between passes
vetoes       what stands against acting now; decide: what to do now, what to remember, and why
explain      what holds and why; lint: what is allowed and probably not meant
running      at work on a cluster, pass by pass; controller: all the time, whenever something is due
install      the manifests under which either runs in a cluster
"""

from vmkit.schedule.calendars import parse_calendar, read_calendar
from vmkit.schedule.decide import Action, Decision, decide
from vmkit.schedule.downscaler import resolve_sources
from vmkit.schedule.explain import Explanation, VmExplanation, explain_timetable, explain_vm
from vmkit.schedule.facts import Ownership, VmFacts, read_facts
from vmkit.schedule.lint import Finding, lint_schedule
from vmkit.schedule.model import Schedule
from vmkit.schedule.parse import parse_schedule
from vmkit.schedule.sources import Defaults, Effective, Problem, Scope, Source
from vmkit.schedule.state import STATE, StoredState, parse_state, render_state
from vmkit.schedule.timetable import Timetable, Transition, Wish
from vmkit.schedule.vetoes import Policy

__all__ = [
    "STATE",
    "Action",
    "Decision",
    "Defaults",
    "Effective",
    "Explanation",
    "Finding",
    "Ownership",
    "Policy",
    "Problem",
    "Schedule",
    "Scope",
    "Source",
    "StoredState",
    "Timetable",
    "Transition",
    "VmExplanation",
    "VmFacts",
    "Wish",
    "decide",
    "explain_timetable",
    "explain_vm",
    "lint_schedule",
    "parse_calendar",
    "parse_schedule",
    "parse_state",
    "read_calendar",
    "read_facts",
    "render_state",
    "resolve_sources",
]
