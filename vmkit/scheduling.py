"""What `vmkit.api.Vmkit` does with schedules: joins deciding, which knows no power, with the power verbs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmkit.cluster.session import Session
from vmkit.plan.model import Outcome, Reason, Status
from vmkit.power.acting import Actor, Later, object_of
from vmkit.power.options import PowerOptions
from vmkit.power.ownership import read_verdicts
from vmkit.schedule.facts import Ownership
from vmkit.schedule.rules import Side
from vmkit.schedule.running.hands import Judgement
from vmkit.vm.contract import Verb
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView


class PowerHands:
    """Starts and stops as the power verbs do, and judges GitOps as they do."""

    def __init__(self, session: Session) -> None:
        self._session = session
        options = PowerOptions()
        self._actors = {
            Side.START: Actor(session, Verb.START, options),
            Side.STOP: Actor(session, Verb.STOP, options),
        }

    def act(self, view: VmView, side: Side) -> Outcome:
        """Starts or stops a VM."""
        result = self._actors[side].act(view)
        if isinstance(result, Later):
            return Outcome(object_of(view.ref), str(side), Status.SKIPPED, Reason("NotYet", result.text))
        return result

    def judge(self, views: Iterable[VmView], side: Side) -> Mapping[VmRef, Judgement]:
        """The verdicts on those that a GitOps tool owns."""
        verdicts = read_verdicts(self._session, views, str(side))
        return {
            ref: Judgement(Ownership(str(verdict.verdict)), str(verdict.owner), verdict.remedy)
            for ref, verdict in verdicts.items()
        }
