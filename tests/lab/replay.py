"""Recorded scenarios, replayed step by step against a lab and compared by the rules of tests/data/recordings.

run = Replay(lab, load_scenario("crud"))
for step in run.steps:
    assert run.play(step) == []
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tests.lab.wire import Reply, Wire
from vmkit.lab import Lab

DATA = Path(__file__).parent.parent / "data" / "recordings"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_AGE = re.compile(r"(\d+[smhdy])+|<unknown>")
_DECODING = (
    "the object provided is unrecognized",
    "cannot be handled as a",
    "invalid continue token",
    "error decoding",
    "denied the request: json:",
    "denied the request: quantities must match",
)
_TIME_KEYS = ("time", "Time", "Timestamp")
_NODE_KEYS = ("nodeName", "kubevirt.io/nodeName", "hostname", "serverAddress", "host")
_ADDRESS_KEYS = ("mac", "ipAddress", "ipAddresses", "ip", "podIP", "hostIP")
_ADDRESS = re.compile(r"\d+(\.\d+){3}|[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NUMBER_KEYS = ("generation", "observedGeneration", "desiredGeneration", "kubevirt.io/vm-generation")
_FREE_KEYS = ("managedFields", "continue", "remainingItemCount", "runtimeUser")
_VERSIONS = re.compile(r"(resource version: \d+) \(\d+\)")


@dataclass(frozen=True)
class Scenario:
    """A recorded scenario."""

    name: str
    namespace: str
    steps: tuple[Mapping[str, Any], ...]


def load_scenario(name: str) -> Scenario:
    """Reads one of tests/data/recordings."""
    document = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return Scenario(document["scenario"], document["namespace"], tuple(document["steps"]))


@dataclass
class Replay:
    """A scenario in progress: what the recorded names, uids and versions are called here.

    Args:
        tokens: bearer tokens by the ``as`` of a step; the lab's own for the rest.
        before: called before each step with its name (to wait, or to make the world as it was).
    """

    lab: Lab
    scenario: Scenario
    tokens: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[str], None] | None = None
    learned: dict[str, str] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Mapping[str, Any], ...]:
        return self.scenario.steps

    def prepare(self) -> Wire:
        """Makes the scenario's namespace and returns a connection."""
        wire = Wire(self.lab)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.scenario.namespace}}
        assert wire.post("/api/v1/namespaces", body).status == 201
        self.lab.settle()
        return wire

    def play(self, step: Mapping[str, Any]) -> list[str]:
        """Sends one step and returns what differs, one line each."""
        if self.before is not None:
            self.before(step["step"])
        reply = self.send(step["request"])
        self.replies[step["step"]] = reply
        return list(self.differences(step["response"], reply))

    def send(self, request: Mapping[str, Any]) -> Reply:
        """Sends a recorded request, in this lab's terms."""
        wire = Wire(self.lab, token=self.tokens.get(request.get("as", "")))
        return wire.send(
            request["method"],
            self._path(request["path"]),
            self._translate(request.get("body")),
            content_type=request.get("contentType", ""),
            accept=request.get("accept", "application/json"),
            raw=request["raw"].encode() if "raw" in request else None,
        )

    def differences(self, recorded: Mapping[str, Any], reply: Reply) -> Iterator[str]:
        """What differs between a recorded answer and one from here."""
        if recorded["status"] != reply.status:
            yield f"status: {recorded['status']} was recorded, here it is {reply.status} {reply.body!r:.300}"
        for name, value in (recorded.get("headers") or {}).items():
            if reply.headers.get(name) != value:
                yield f"header {name}: {value!r} was recorded, here it is {reply.headers.get(name)!r}"
        if "warning" not in (recorded.get("headers") or {}) and "warning" in reply.headers:
            yield f"header warning: none was recorded, here it is {reply.headers['warning']!r}"
        yield from self._compare(
            recorded.get("body"), reply.body if reply.raw or reply.body != {"text": ""} else None, "", ""
        )

    # --- translating -----------------------------------------------------------------------------------

    def _path(self, path: str) -> str:
        split = urlsplit(path)
        pairs = []
        for key, value in parse_qsl(split.query, keep_blank_values=True):
            if key in ("continue", "resourceVersion"):
                value = self.learned.get(f"{key}:{value}", value)
            pairs.append((key, value))
        place = self._text(split.path)
        return place + ("?" + urlencode(pairs, quote_via=quote) if pairs else "")

    def _translate(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._translate(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self._translate(item) for item in value]
        if isinstance(value, str):
            if key in ("resourceVersion", "creationTimestamp"):
                return self.learned.get(f"{key}:{value}", value)
            return self._text(value)
        return value

    def _text(self, text: str) -> str:
        text = _UUID.sub(lambda match: self.learned.get(match[0], match[0]), text)
        for recorded, here in self.learned.items():
            if recorded.startswith("name:"):
                text = text.replace(recorded[5:], here)
        return text

    # --- comparing -------------------------------------------------------------------------------------

    def _compare(self, recorded: Any, here: Any, path: str, key: str) -> Iterator[str]:
        if key == "activePods":
            yield from _check_active_pods(recorded, here, path)
        elif isinstance(recorded, dict) and isinstance(here, dict):
            yield from self._compare_objects(recorded, here, path)
        elif isinstance(recorded, list) and isinstance(here, list):
            yield from self._compare_lists(recorded, here, path, key)
        elif self._is_free(recorded, here, key):
            return
        elif isinstance(recorded, str) and isinstance(here, str) and key == "message" and _is_decoding(recorded):
            if recorded.partition(":")[0] != here.partition(":")[0]:
                yield f"{path}: {recorded!r} was recorded, here it is {here!r}"
        elif key == "message" and _VERSIONS.sub(r"\1", str(recorded)) == _VERSIONS.sub(r"\1", str(here)):
            return
        elif self._translate(recorded) != here or type(recorded) is not type(here):
            yield f"{path}: {recorded!r} was recorded, here it is {here!r}"

    def _compare_objects(self, recorded: Mapping[str, Any], here: Mapping[str, Any], path: str) -> Iterator[str]:
        recorded, here = dict(recorded), dict(here)
        if recorded.get("kind") == "Table":
            recorded, here = _without_ages(recorded), _without_ages(here)
        for name in sorted(recorded.keys() | here.keys()):
            inner = f"{path}.{name}"
            if name in ("managedFields", "remainingItemCount") or "openshift" in name:
                if name == "managedFields" and name in here:
                    yield from _check_managed(here[name], inner)
                continue
            if name not in here:
                if name == "continue" and not recorded[name]:
                    yield f"{inner}: an empty one was recorded, here there is none"
                elif name != "continue":
                    yield f"{inner}: {recorded[name]!r:.200} was recorded, here there is none"
            elif name not in recorded:
                yield f"{inner}: none was recorded, here there is {here[name]!r:.200}"
            else:
                self._learn(name, recorded, here)
                yield from self._compare(recorded[name], here[name], inner, name)

    def _compare_lists(self, recorded: list[Any], here: list[Any], path: str, key: str) -> Iterator[str]:
        recorded = [item for item in recorded if "openshift" not in _name_of(item)]
        here = [item for item in here if "openshift" not in _name_of(item)]
        if path.endswith((".resources", ".groups")) and all(isinstance(item, dict) for item in recorded):
            # The order of discovery does not count.
            recorded, here = sorted(recorded, key=_name_of), sorted(here, key=_name_of)
        if len(recorded) != len(here):
            names = [_name_of(item) or repr(item)[:60] for item in here]
            yield f"{path}: {len(recorded)} items were recorded, here there are {len(here)}: {names}"
            return
        for index, (one, other) in enumerate(zip(recorded, here, strict=True)):
            yield from self._compare(one, other, f"{path}[{index}]", key)

    def _learn(self, name: str, recorded: Mapping[str, Any], here: Mapping[str, Any]) -> None:
        one, other = recorded[name], here[name]
        if not isinstance(one, str) or not isinstance(other, str) or not one:
            return
        if name == "uid" or (name == "serial" and _UUID.fullmatch(one)) or name == "uuid":
            self.learned.setdefault(one, other)
        elif name in ("resourceVersion", "continue", "creationTimestamp"):
            self.learned[f"{name}:{one}"] = other
        elif name == "name" and "generateName" in recorded and one.startswith(recorded["generateName"]):
            self.learned[f"name:{one}"] = other

    def _is_free(self, recorded: Any, here: Any, key: str) -> bool:
        """Values that vary, when both have the right form."""
        if key in _FREE_KEYS:
            return isinstance(here, type(recorded)) and bool(recorded) == bool(here)
        if key == "ca.crt":
            return isinstance(here, str) and here.startswith(recorded[:27])
        if key in ("uid", "uuid", "serial") and isinstance(recorded, str) and _UUID.fullmatch(recorded):
            return isinstance(here, str) and _UUID.fullmatch(here) is not None
        if key == "resourceVersion":
            return isinstance(here, str) and here.isdigit() == recorded.isdigit()
        if key in _NUMBER_KEYS:
            return isinstance(here, type(recorded)) and str(here).isdigit()
        if key.endswith(_TIME_KEYS) and isinstance(recorded, str) and _TIME.fullmatch(recorded):
            return isinstance(here, str) and _TIME.fullmatch(here) is not None
        if key in _ADDRESS_KEYS and isinstance(recorded, str) and _ADDRESS.fullmatch(recorded):
            return isinstance(here, str) and _ADDRESS.fullmatch(here) is not None
        if key in _NODE_KEYS:
            return isinstance(here, type(recorded)) and bool(recorded) == bool(here)
        if key.endswith("RevisionName") or key == "revisionName":
            return isinstance(here, str) and bool(here)
        if key == "name" and isinstance(recorded, str) and f"name:{recorded}" in self.learned:
            return bool(here == self.learned[f"name:{recorded}"])
        return False


def _check_managed(entries: Any, path: str) -> Iterator[str]:
    for index, entry in enumerate(entries):
        wanted = {"manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"}
        if not wanted <= entry.keys() or entry["operation"] not in ("Apply", "Update"):
            yield f"{path}[{index}]: {entry!r} is no managedFields entry"


def _check_active_pods(recorded: Any, here: Any, path: str) -> Iterator[str]:
    """Pods by uid, each with its node: as many, as many of them without one, and uids for keys."""
    wanted, found = sorted(map(bool, recorded.values())), sorted(map(bool, here.values()))
    if wanted != found or not all(_UUID.fullmatch(uid) for uid in here):
        yield f"{path}: {recorded!r} was recorded, here it is {here!r}"


def _is_decoding(message: str) -> bool:
    return any(text in message for text in _DECODING)


def _name_of(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    metadata = item.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else str(item.get("name", ""))


def _without_ages(table: dict[str, Any]) -> dict[str, Any]:
    table = copy.deepcopy(table)
    ages = [index for index, column in enumerate(table["columnDefinitions"]) if column["name"] == "Age"]
    for row in table["rows"]:
        for index in ages:
            if isinstance(row["cells"][index], str) and _AGE.fullmatch(row["cells"][index]):
                row["cells"][index] = "AGE"
    return table
