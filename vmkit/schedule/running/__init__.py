"""Schedules at work on a cluster.

settings     what holds for a pass: the config file, calendars, defaults
subjects     VMs with what is asked for them, read from three lists
conditions   what has to be asked of the cluster where something is due
order        who waits for whom; pace: how many starts a minute
records      what is written on a VM: its state, its last action, its history
events       what people are told; switch: the suspend switch
vigil        what a pass gets from a controller that has been watching
hands        how a start or stop is done, and what a GitOps tool would say (given by the caller)
options      what a pass is told, and what it tells
passing      one pass; acting: one action of it, step by step
overrides    keep-up, keep-down, skip-next, exclude-until
undo         takes back what a run did
simulate     a calendar run forward on the cluster's own VMs
importing    other tools' schedules, in vmkit's words
"""

from vmkit.schedule.running.hands import Hands, Judgement
from vmkit.schedule.running.passing import PassOptions, run_pass
from vmkit.schedule.running.settings import Settings, read_settings

__all__ = ["Hands", "Judgement", "PassOptions", "Settings", "read_settings", "run_pass"]
