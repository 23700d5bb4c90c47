"""Which VMs nobody uses, and what to do about them. Everything here is pure but running/ and reading files.

policy    what counts as idle: criteria and presets, and the longest job they cannot see
facts     what the verdict needs to know of a VM besides its use
verdict   idle, busy or unknown, and why; fleet: what only shows when VMs are looked at together
mark      what is noted on a VM that is idle; decide: note it, stop it, take the note away, let it be
report    what a run found, and what stopping it would return; pages: the same as a page
running/  all of it at work on a cluster; install: as an hourly job there
ledger    what was turned off, and what that returned; rates, ledger_show: in grams and money, for people
rehearsal and its neighbours: the same decisions over the past
"""

from vmkit.idle.facts import IdleFacts
from vmkit.idle.fleet import decide_fleet
from vmkit.idle.policy import PRESETS, Criterion, IdlePolicy, find_preset, vmkit_policy
from vmkit.idle.verdict import Finding, State, Verdict, decide_idle

__all__ = [
    "PRESETS",
    "Criterion",
    "Finding",
    "IdleFacts",
    "IdlePolicy",
    "State",
    "Verdict",
    "decide_fleet",
    "decide_idle",
    "find_preset",
    "vmkit_policy",
]
