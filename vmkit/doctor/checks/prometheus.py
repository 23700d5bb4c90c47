"""Prometheus, and what it really knows of VMs; see `vmkit.metrics.prometheus.names`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES
from vmkit.doctor.look import Look
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.errors import ClusterError, DeadlineExceeded
from vmkit.metrics.prometheus.names import (
    MEMORY,
    RUNNING,
    SIGNALS,
    Vocabulary,
    build_vocabulary_query,
    read_vocabulary,
)
from vmkit.metrics.prometheus.queries import EVIDENCE_OF_RULES
from vmkit.metrics.summary import Signal

OK = Kind("prometheus.knows-vms", Severity.OK, "Prometheus answers, and knows of VMs.")
ABSENT = Kind(
    "prometheus.absent",
    Severity.WARNING,
    "No Prometheus was found in the cluster.",
    why="what is idle, what size VMs should have and what they take cannot be told",
    mend="name it: --prometheus URL; or install one: https://prometheus-operator.dev/kube-prometheus",
)
SILENT = Kind(
    "prometheus.silent",
    Severity.PROBLEM,
    "Prometheus does not answer a query.",
    why="what is idle, what size VMs should have and what they take cannot be told",
    mend="see that its pods run, and that --prometheus and its token are right",
)
NO_VMS = Kind(
    "prometheus.no-vms",
    Severity.PROBLEM,
    "VMs run, and Prometheus has no kubevirt_vmi_info: it does not scrape KubeVirt.",
    why="every VM's use is unknown, and unknown is never stopped or resized",
    mend="kubectl -n kubevirt patch kubevirt kubevirt --type=merge"
    """ -p '{"spec":{"monitorNamespace":"monitoring","monitorAccount":"prometheus-k8s"}}'""",
)
NO_INSTANCES = Kind(
    "prometheus.no-instances",
    Severity.INFO,
    "Prometheus answers, and no VM runs.",
    why="what it would know of VMs shows when one runs",
)
LACKS = Kind(
    "prometheus.lacks-metric",
    Severity.WARNING,
    "Prometheus has none of the metrics that a signal is read from.",
    why="a VM about which that is not known is never called idle, and memory is not resized without its use",
    mend="see that virt-handler is scraped, and that no relabelling drops the metric; memory needs KubeVirt's "
    "balloon statistics, which guests with a virtio driver give",
)
RENAMED = Kind(
    "prometheus.renamed-labels",
    Severity.INFO,
    "The scraper renames KubeVirt's labels: namespace has become exported_namespace.",
    why="vmkit reads both; other people's dashboards and rules may not",
    mend="set honorLabels: true on the ServiceMonitor of KubeVirt",
)
NO_RULES = Kind(
    "prometheus.no-rules",
    Severity.INFO,
    "vmkit's recording rules are not there.",
    why="questions about thousands of VMs take many queries in place of one",
    mend="vmkit install recording-rules | kubectl apply -f -",
)

_ASKED: Final = (Signal.CPU, Signal.RECEIVE, Signal.TRANSMIT, Signal.DISK_READ, Signal.DISK_WRITE)


def run(look: Look) -> Iterator[Finding]:
    client = look.prometheus()
    if client is None:
        if not look.unknowns:
            yield ABSENT.found("no Service in the cluster answers like Prometheus")
        return
    try:
        words = read_vocabulary(client.query(build_vocabulary_query()))
        names = "|".join(EVIDENCE_OF_RULES)
        rules = list(client.query(f'group ({{__name__=~"{names}"}})'))
    except (ClusterError, DeadlineExceeded) as error:
        yield SILENT.found(f"{client.server}: {error.message}", target=client.server)
        return
    if RUNNING not in words.metrics:
        instances = look.list(VIRTUAL_MACHINE_INSTANCES)
        if instances:
            yield NO_VMS.found(
                f"{len(instances)} VMs run, and {client.server} has no {RUNNING}", target=client.server
            )
        elif look.knows(VIRTUAL_MACHINE_INSTANCES):
            yield NO_INSTANCES.found(f"{client.server} answers, and no VM runs", target=client.server)
        return
    yield OK.found(f"{client.server} knows of VMs by {len(words.metrics)} of the metrics that vmkit reads")
    yield from _judge(words, client.server)
    if not rules:
        yield NO_RULES.found(f"{client.server} has no series of vmkit's recording rules", target=client.server)


def _judge(words: Vocabulary, server: str) -> Iterator[Finding]:
    for signal in _ASKED:
        if words.find(signal) is None:
            wanted = " or ".join(metric.name for metric in SIGNALS[signal])
            yield LACKS.found(f"{signal} is not known: there is no {wanted}", target=server)
    lacking = [name for name in MEMORY if name not in words.metrics]
    if lacking:
        yield LACKS.found(f"memory is not known: there is no {' and no '.join(lacking)}", target=server)
    if words.namespace != "namespace":
        yield RENAMED.found(
            f"labels of VMs are called {words.namespace}, {words.name}, {words.node}", target=server
        )


CHECK = Check(
    "prometheus",
    "Prometheus, and which of KubeVirt's metrics it really has.",
    (OK, ABSENT, SILENT, NO_VMS, NO_INSTANCES, LACKS, RENAMED, NO_RULES),
    run,
)
