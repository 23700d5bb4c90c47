"""What every source of usage offers, whoever measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from vmkit.metrics.summary import Measure, Summary, Unknown
from vmkit.vm.reference import VmRef


class UsageSource(Protocol):
    """Sums up how VMs were used."""

    def summarize(
        self, refs: Collection[VmRef], *, measures: Collection[Measure], at: datetime, lookback: timedelta
    ) -> Mapping[VmRef, Summary]:
        """What is known of the use of VMs over the lookback that ends at an instant.

        Every VM asked about is answered. Trouble of any kind (a server that is away, refuses, or tells half) makes
        the parts that it touches an `Unknown` with the reason; nothing is raised for it.

        Args:
            refs: the VMs.
            measures: the numbers wanted; signals that none is of are not looked at.
            at: an aware instant, by the cluster's clock; now or in the past.
            lookback: how far back.
        """
        ...  # a protocol has no body


def nothing_known(
    ref: VmRef, why: Unknown, *, measures: Collection[Measure], at: datetime, lookback: timedelta
) -> Summary:
    """A summary in which everything asked for is unknown, for one reason."""
    return Summary(
        ref,
        at,
        lookback,
        usage={measure.signal: why for measure in measures},
        observed=why,
        running=why,
        sessions=why,
        memory=why,
        migrations=why,
        energy=why,
    )
