"""Running a pod's command as a process of this machine, so that jobs made for a cluster can be tried end to end.

Off unless the lab was brought up with it: whoever may create pods in such a lab runs programs as its user. The
process gets a fresh folder as home and working directory, the container's environment and nothing of the lab's
own, and a kubeconfig that holds the pod's service account.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from vmkit.lab.access.tokens import Tokens
from vmkit.lab.controller import Context
from vmkit.lab.kubeconfig import build_kubeconfig
from vmkit.lab.resources import Object, Registry
from vmkit.lab.store import Store

OUTPUT_BYTES: Final = 64 * 1024
"""How much of a process's output is kept, from its end."""
MESSAGE_BYTES: Final = 2048
"""How much of it stands in the container's status (the kubelet's limit with FallbackToLogsOnError)."""
LONGEST_RUN: Final = timedelta(minutes=10)
_TERMINATE_SECONDS: Final = 5.0
_STARTED_BADLY: Final = 127
_TIMED_OUT: Final = 124
_VARIABLE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclass(frozen=True, slots=True)
class Home:
    """What a process has to know of the lab it belongs to.

    Attributes:
        url: gives the lab's address, once it is known.
        authority: gives the certificate authority (PEM) of a lab that serves TLS, else None.
        post: hands a callback over to the loop thread.
    """

    url: Callable[[], str]
    authority: Callable[[], bytes | None]
    post: Callable[[Callable[[], None]], object]


def build_runner(context: Context, tokens: Tokens) -> ProcessRunner | None:
    """The runner of a lab whose option "home" says where it lives; None: nothing is run."""
    home = context.options.get("home")
    return ProcessRunner(context.store, context.registry, tokens, home) if isinstance(home, Home) else None


class ProcessRunner:
    """Runs the first container of pods that may end (those of Jobs)."""

    def __init__(self, store: Store, registry: Registry, tokens: Tokens, home: Home) -> None:
        self._store = store
        self._secrets = registry.get("", "secrets")
        self._maps = registry.get("", "configmaps")
        self._accounts = registry.get("", "serviceaccounts")
        self._tokens = tokens
        self._home = home
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._outputs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def wants(self, pod: Object) -> bool:
        return pod["spec"].get("restartPolicy") in ("Never", "OnFailure")

    def start(self, pod: Object, ended: Callable[[int, str], None]) -> None:
        uid = pod["metadata"]["uid"]
        folder = Path(tempfile.mkdtemp(prefix="vmkit-lab-pod-"))
        try:
            mounts = self._mount(pod, folder)
            environment = self._environment(pod, folder)
            command = _command(pod["spec"]["containers"][0], environment, mounts)
            process = subprocess.Popen(  # noqa: S603 - running what the pod names is the point
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError, LookupError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            text = f"{type(error).__name__}: {error}"
            self._outputs[uid] = text.encode()
            self._home.post(lambda: ended(_STARTED_BADLY, text))
            return
        with self._lock:
            self._processes[uid] = process
        watcher = threading.Thread(
            target=self._follow, args=(uid, process, folder, ended), name=f"pod-{uid[:8]}", daemon=True
        )
        watcher.start()

    def stop(self, uid: str) -> None:
        with self._lock:
            process = self._processes.get(uid)
        if process is not None and process.poll() is None:
            process.terminate()
            threading.Timer(_TERMINATE_SECONDS, _kill, args=(process,)).start()

    def close(self) -> None:
        """Ends every process that still runs."""
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            _kill(process)

    def output(self, uid: str) -> bytes | None:
        """The end of a process's output, or None where none ran."""
        return self._outputs.get(uid)

    def _follow(
        self, uid: str, process: subprocess.Popen[bytes], folder: Path, ended: Callable[[int, str], None]
    ) -> None:
        deadline = threading.Timer(LONGEST_RUN.total_seconds(), _kill, args=(process,))
        deadline.daemon = True
        deadline.start()
        kept = b""
        assert process.stdout is not None
        with process.stdout as stream:
            while chunk := os.read(stream.fileno(), 8192):
                kept = (kept + chunk)[-OUTPUT_BYTES:]
                self._outputs[uid] = kept
        code = process.wait()
        overdue = not deadline.is_alive()
        deadline.cancel()
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._processes.pop(uid, None)
        code = _TIMED_OUT if overdue and code else 128 - code if code < 0 else code
        message = kept[-MESSAGE_BYTES:].decode(errors="replace") if code else ""
        self._home.post(lambda: ended(code, message))

    # --- what the process is given ---------------------------------------------------------------------

    def _environment(self, pod: Object, folder: Path) -> dict[str, str]:
        namespace = pod["metadata"]["namespace"]
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "HOSTNAME": pod["metadata"]["name"],
            "NO_PROXY": "127.0.0.1,localhost",
        }
        container = pod["spec"]["containers"][0]
        for source in container.get("envFrom") or ():
            environment |= self._all_values(namespace, source)
        for variable in container.get("env") or ():
            value = variable.get("value")
            if value is None:
                value = self._value(pod, variable.get("valueFrom") or {})
            if value is not None:
                environment[variable["name"]] = _expand(str(value), environment)
        environment["KUBECONFIG"] = str(self._write_kubeconfig(pod, folder))
        return environment

    def _all_values(self, namespace: str, source: Object) -> dict[str, str]:
        prefix = source.get("prefix", "")
        for field, rtype in (("configMapRef", self._maps), ("secretRef", self._secrets)):
            reference = source.get(field)
            if reference:
                obj = self._store.find(rtype, namespace, reference.get("name", ""))
                if obj is None and not reference.get("optional"):
                    raise LookupError(f'{rtype.singular_name} "{reference.get("name", "")}" not found')
                return {f"{prefix}{key}": value for key, value in _texts(obj or {}).items()}
        return {}

    def _value(self, pod: Object, source: Object) -> str | None:
        namespace = pod["metadata"]["namespace"]
        for field, rtype in (("configMapKeyRef", self._maps), ("secretKeyRef", self._secrets)):
            reference = source.get(field)
            if reference:
                obj = self._store.find(rtype, namespace, reference.get("name", ""))
                value = None if obj is None else _texts(obj).get(reference.get("key", ""))
                if value is None and not reference.get("optional"):
                    raise LookupError(f'{rtype.singular_name} "{reference.get("name", "")}" has no such key')
                return value
        path = (source.get("fieldRef") or {}).get("fieldPath", "")
        found: Any = pod
        for part in path.split(".") if path else ():
            found = found.get(part) if isinstance(found, Mapping) else None
        return str(found) if isinstance(found, (str, int)) else None

    def _mount(self, pod: Object, folder: Path) -> dict[str, str]:
        """Writes the ConfigMaps and Secrets that are mounted; returns where each mount path really is."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        mounts: dict[str, str] = {}
        for index, mount in enumerate(pod["spec"]["containers"][0].get("volumeMounts") or ()):
            volume = volumes.get(mount["name"], {})
            target = folder / f"volume-{index}"
            target.mkdir()
            mounts[mount["mountPath"].rstrip("/")] = str(target)
            for field, rtype, name in (("configMap", self._maps, "name"), ("secret", self._secrets, "secretName")):
                source = volume.get(field)
                if source is None:
                    continue
                obj = self._store.find(rtype, pod["metadata"]["namespace"], source.get(name, ""))
                if obj is None and not source.get("optional"):
                    raise LookupError(f'{rtype.singular_name} "{source.get(name, "")}" not found')
                for key, value in _texts(obj or {}).items():
                    # Keys of both kinds are checked by the API server: no slash can be in them.
                    (target / Path(key).name).write_text(value)
        return mounts

    def _write_kubeconfig(self, pod: Object, folder: Path) -> Path:
        namespace = pod["metadata"]["namespace"]
        account = self._store.find(self._accounts, namespace, pod["spec"].get("serviceAccountName") or "default")
        if account is None:
            raise LookupError("the pod's service account is gone")
        token, _ = self._tokens.issue(account, lifetime=timedelta(hours=1))
        document = build_kubeconfig(
            "lab", self._home.url(), token, authority=self._home.authority(), namespace=namespace
        )
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_bytes(document)
        return path


def _texts(obj: Object) -> dict[str, str]:
    import base64

    if obj.get("kind") == "Secret":
        data = obj.get("data") or {}
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    return {key: str(value) for key, value in (obj.get("data") or {}).items()}


def _expand(text: str, environment: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: environment.get(match[1], match[0]), text)


def _command(container: Object, environment: Mapping[str, str], mounts: Mapping[str, str]) -> list[str]:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not container.get("command"):
        image = str(container.get("image", "")).rpartition("/")[2]
        if not re.match(r"vmkit([:@]|$)", image):
            raise ValueError(f"the container of {image!r} names no command, and its image is not at hand")
        # The entry point of vmkit's own image.
        words = ["vmkit", *words]
    words = [_place(_expand(str(word), environment), mounts) for word in words]
    if words[0] == "vmkit":
        words[:1] = [sys.executable, "-m", "vmkit"]
    return words


def _place(word: str, mounts: Mapping[str, str]) -> str:
    for mounted, real in mounts.items():
        head, equals, tail = word.rpartition("=")
        if tail == mounted or tail.startswith(f"{mounted}/"):
            return f"{head}{equals}{real}{tail[len(mounted) :]}"
    return word


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
