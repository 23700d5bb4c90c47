"""Ordinary pods: given a node, started, and ended. Pods that hold a guest are KubeVirt's own business.

What a container does is not simulated: a pod of a Deployment runs until it is deleted, a pod that may end (restart
policy Never or OnFailure) ends well after a while. A `Runner` can run the container's command for real instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol

from vmkit.lab.clock import format_time, parse_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.controllers.pods import LOG_ANNOTATION
from vmkit.lab.resources import Object, ObjectKey

START_SECONDS: Final = 2.0
"""From the node's choice to running: an image that is on the node already."""
TASK_SECONDS: Final = 5.0
STOP_SECONDS: Final = 1.0
_FOREIGN_LABELS: Final = ("kubevirt.io", "cdi.kubevirt.io")
_ENDED: Final = ("Succeeded", "Failed")


class Runner(Protocol):
    """Runs a pod's command as a process of this machine."""

    def wants(self, pod: Object) -> bool:
        """Whether this pod is to be run for real."""

    def start(self, pod: Object, ended: Callable[[int, str], None]) -> None:
        """Starts it; ``ended`` is called on the loop thread with the exit code and the end of its output."""

    def stop(self, uid: str) -> None:
        """Ends a process that still runs; unknown uids are ignored."""

    def output(self, uid: str) -> bytes | None:
        """What it has printed so far (the end of it), or None where none ran."""

    def close(self) -> None:
        """Ends every process that still runs."""


class KubeletController(Controller):
    """Every node's kubelet and the scheduler, for pods that nobody else looks after."""

    name: ClassVar[str] = "kubelet"

    def __init__(self, context: Context, *, runner: Runner | None = None) -> None:
        super().__init__(context)
        self._pods = self.registry.get("", "pods")
        self._nodes = self.registry.get("", "nodes")
        self._runner = runner
        self._running: set[str] = set()
        self._addresses = 0

    def setup(self) -> None:
        self.watch(self._pods)

    def reconcile(self, key: ObjectKey) -> None:
        entry = self.store.entry(self._pods, key.namespace, key.name)
        if entry is None or any(label in entry.labels for label in _FOREIGN_LABELS):
            return
        pod = entry.decode()
        status = pod.get("status") or {}
        if "deletionTimestamp" in pod["metadata"]:
            self._end(pod)
        elif not pod["spec"].get("nodeName"):
            self._bind(pod)
        elif status.get("phase") == "Pending":
            self._start(pod)
        elif status.get("phase") == "Running":
            self._let_run(pod)

    def stop(self) -> None:
        super().stop()
        if self._runner is not None:
            self._runner.close()

    # --- the scheduler ---------------------------------------------------------------------------------

    def _bind(self, pod: Object) -> None:
        node = self._choose_node(pod)
        if node is None:
            message = f"0/{self.store.count(self._nodes)} nodes are available."
            if self._set_condition(pod, "PodScheduled", "False", reason="Unschedulable", message=message):
                self.store.update(self._pods, pod, manager="kube-scheduler", subresource="status")
                self.recorder.record(
                    pod, "FailedScheduling", message, component="default-scheduler", type="Warning"
                )
            self.requeue_after(_key(pod), 30)
            return
        pod["spec"]["nodeName"] = node
        stored = self.store.update(self._pods, pod, manager="kube-scheduler")
        self._set_condition(stored, "PodScheduled", "True")
        self.store.update(self._pods, stored, manager="kubelet", subresource="status")
        self.recorder.record(
            pod,
            "Scheduled",
            f"Successfully assigned {_key(pod).namespace}/{_key(pod).name} to {node}",
            component="default-scheduler",
        )

    def _choose_node(self, pod: Object) -> str | None:
        wanted = pod["spec"].get("nodeSelector") or {}
        tolerated = pod["spec"].get("tolerations") or ()
        best: tuple[int, str] | None = None
        taken: dict[str, int] = {}
        for entry in self.store.entries(self._pods):
            # A look at the bytes would need decoding thousands of pods; the labels say which are ordinary.
            if not any(label in entry.labels for label in _FOREIGN_LABELS):
                name = entry.decode()["spec"].get("nodeName", "")
                taken[name] = taken.get(name, 0) + 1
        for node in self.store.list(self._nodes):
            labels = node["metadata"].get("labels") or {}
            name = node["metadata"]["name"]
            if any(labels.get(key) != value for key, value in wanted.items()):
                continue
            if node["spec"].get("unschedulable") or not _is_ready(node) or not _tolerates(tolerated, node):
                continue
            candidate = (taken.get(name, 0), name)
            best = candidate if best is None else min(best, candidate)
        return None if best is None else best[1]

    # --- the kubelet -----------------------------------------------------------------------------------

    def _start(self, pod: Object) -> None:
        status = pod["status"]
        if "startTime" not in status:
            status["startTime"] = format_time(self.clock.now())
            self._fill_containers(pod, "waiting")
            self.store.update(self._pods, pod, manager="kubelet", subresource="status")
            self.requeue_after(_key(pod), START_SECONDS)
            return
        if (self.clock.now() - _instant(status["startTime"])).total_seconds() < START_SECONDS:
            return
        self._addresses += 1
        status["phase"] = "Running"
        status["podIP"] = f"10.200.{self._addresses // 250 % 250}.{self._addresses % 250 + 2}"
        status["podIPs"] = [{"ip": status["podIP"]}]
        self._fill_containers(pod, "running")
        for condition in ("Initialized", "Ready", "ContainersReady"):
            self._set_condition(pod, condition, "True")
        self.store.update(self._pods, pod, manager="kubelet", subresource="status")
        self.recorder.record(pod, "Started", "Started container", component="kubelet")

    def _let_run(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._running or pod["spec"].get("restartPolicy", "Always") == "Always":
            return
        self._running.add(uid)
        key = _key(pod)
        if self._runner is not None and self._runner.wants(pod):
            self._runner.start(pod, lambda code, output: self._finish(key, uid, code, output))
        else:
            self.clock.call_later(TASK_SECONDS, lambda: self._finish(key, uid, 0, ""))

    def _finish(self, key: ObjectKey, uid: str, code: int, output: str) -> None:
        self._running.discard(uid)
        pod = self.store.find(self._pods, key.namespace, key.name)
        if pod is None or pod["metadata"]["uid"] != uid or pod["status"].get("phase") in _ENDED:
            return
        pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        self._fill_containers(pod, "terminated", code=code, message=output)
        for condition in ("Ready", "ContainersReady"):
            self._set_condition(pod, condition, "False", reason="PodCompleted" if code == 0 else "PodFailed")
        pod = self.store.update(self._pods, pod, manager="kubelet", subresource="status")
        printed = None if self._runner is None else self._runner.output(uid)
        if printed:
            annotations = pod["metadata"].setdefault("annotations", {})
            annotations[LOG_ANNOTATION] = printed.decode(errors="replace")
            self.store.update(self._pods, pod, manager="kubelet")

    def _end(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if self._runner is not None:
            self._runner.stop(uid)
        grace = pod["metadata"].get("deletionGracePeriodSeconds") or 0
        ended = pod["status"].get("phase") in _ENDED or not pod["spec"].get("nodeName")
        due = self.clock.now() if ended else _instant(pod["metadata"]["deletionTimestamp"])
        began = due.timestamp() - (0 if ended else grace)
        left = began + (0 if ended else min(grace, STOP_SECONDS)) - self.clock.now().timestamp()
        if left > 0:
            self.requeue_after(_key(pod), left)
            return
        self._running.discard(uid)
        key = _key(pod)
        self.store.delete(self._pods, key.namespace, key.name, grace_seconds=0)

    # --- status ----------------------------------------------------------------------------------------

    def _fill_containers(self, pod: Object, state: str, *, code: int = 0, message: str = "") -> None:
        now = format_time(self.clock.now())
        detail: dict[str, Any] = {"running": {"startedAt": now}, "waiting": {"reason": "ContainerCreating"}}.get(
            state, {}
        )
        if state == "terminated":
            detail = {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "startedAt": pod["status"].get("startTime", now),
                "finishedAt": now,
                **({"message": message} if message else {}),
            }
        pod["status"]["containerStatuses"] = [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": container.get("image", "") if state != "waiting" else "",
                "ready": state == "running",
                "restartCount": 0,
                "started": state == "running",
                "state": {state: detail},
                "lastState": {},
            }
            for container in pod["spec"].get("containers") or ()
        ]

    def _set_condition(self, pod: Object, type_: str, status: str, *, reason: str = "", message: str = "") -> bool:
        """Sets a condition; False when it was so already."""
        conditions = pod["status"].setdefault("conditions", [])
        present = next((each for each in conditions if each["type"] == type_), None)
        if present is not None and (present["status"], present.get("reason", "")) == (status, reason):
            return False
        fresh = {
            "type": type_,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self.clock.now()),
        }
        if reason:
            fresh |= {"reason": reason, "message": message}
        if present is None:
            conditions.append(fresh)
        else:
            conditions[conditions.index(present)] = fresh
        return True


def _key(obj: Object) -> ObjectKey:
    return ObjectKey(obj["metadata"]["namespace"], obj["metadata"]["name"])


def _instant(text: str) -> datetime:
    return parse_time(text)


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _tolerates(tolerations: Any, node: Object) -> bool:
    for taint in node["spec"].get("taints") or ():
        if taint.get("effect") not in ("NoSchedule", "NoExecute"):
            continue
        if not any(
            (not each.get("key") or each["key"] == taint.get("key"))
            and (each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", ""))
            and each.get("effect", taint["effect"]) == taint["effect"]
            for each in tolerations
        ):
            return False
    return True
