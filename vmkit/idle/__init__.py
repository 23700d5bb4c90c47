"""Which VMs nobody uses: evidence in, a verdict with its numbers out. Everything here is pure.

policy    what counts as idle: criteria and presets, and the longest job they cannot see
facts     what the verdict needs to know of a VM besides its use
verdict   idle, busy or unknown, and why; fleet: what only shows when VMs are looked at together
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
