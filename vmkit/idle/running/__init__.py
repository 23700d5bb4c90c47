"""Stopping idle VMs on a cluster, in two steps.

subjects     the VMs of a run, with everything but their use, read from lists
evidence     their use, and who is logged in; the last look before a stop
hands        how a stop is done, and what schedules and GitOps tools say (given by the caller)
brake        what stops a run in which far more is idle than in the one before
options      what is asked of a run; reporting: what it found
acting       one VM, step by step; passing: one run
book         the ledger, in ConfigMaps
snoozing     peace for a while
webhook      what chats and mail gateways are told
"""

from vmkit.idle.running.hands import Guard, Hands
from vmkit.idle.running.options import IdleOptions
from vmkit.idle.running.passing import IdleRun, run_idle
from vmkit.idle.running.subjects import Scope

__all__ = ["Guard", "Hands", "IdleOptions", "IdleRun", "Scope", "run_idle"]
