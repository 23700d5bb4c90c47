"""What was generated, read back: how each workload's container and component are run. Writes nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from vmkit.errors import ManifestError, QuantityError
from vmkit.units import parse_bytes

Manifest = Mapping[str, Any]
_MAX_BYTES: Final = 16 * 2**20
_RUNNING: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
_JOBS: Final = frozenset({"Job", "CronJob"})


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """A container as its manifest says.

    Attributes:
        image: the image's name.
        layout: an OCI layout with the image, or None where it has to be in podman's storage.
        command, arguments: in place of the image's own; empty for those.
        variables: plain ones.
        secrets: from secret.yaml; values may be empty.
        user: "uid:gid", or "" for the image's.
        volumes: where volumes are mounted.
        ports: TCP ports.
        memory_bytes: the limit, or None.
        low_ports: whether ports below 1024 are open to everybody.
        hosts: (name, address) pairs of hostAliases.
    """

    image: str
    layout: Path | None = None
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    user: str = ""
    working_directory: str = ""
    volumes: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    memory_bytes: int | None = None
    capabilities: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    low_ports: bool = False
    hosts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """A component: its file, the environment that its spin.toml gives it, and the secrets that its host holds.

    Spin's variables are in small letters; ``configuration`` has them from secret.yaml.
    """

    wasm: Path
    variables: tuple[tuple[str, str], ...] = ()
    configuration: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """One folder of artifacts.

    Attributes:
        job: it runs at times and answers nothing.
        unbuilt: its component has sources only.
    """

    name: str
    folder: Path
    container: ContainerPlan | None = None
    component: ComponentPlan | None = None
    job: bool = False
    unbuilt: bool = False


def read_artifacts(folder: Path) -> list[Workload]:
    """The workloads of a folder that vmkit migrate generate wrote, by name.

    Raises:
        ManifestError: it is no such folder, or a file in it cannot be understood.
    """
    hint = "give the folder that vmkit migrate generate wrote"
    if not folder.is_dir():
        raise ManifestError("there is no such folder", hint=hint, where=str(folder))
    found = [
        _read_workload(one)
        for one in sorted(folder.iterdir())
        if one.is_dir() and (one / "manifests.yaml").exists()
    ]
    found += [
        Workload(one.name, one, component=component)
        for one in sorted(folder.iterdir())
        if one.is_dir()
        and not (one / "manifests.yaml").exists()
        and (component := _read_component(one)) is not None
    ]
    if not found:
        raise ManifestError("holds no artifacts of a workload", hint=hint, where=str(folder))
    return sorted(found, key=lambda one: one.name)


def _read_workload(folder: Path) -> Workload:
    documents = _load_all(folder / "manifests.yaml")
    secrets: dict[str, str] = {}
    if (folder / "secret.yaml").exists():
        for one in _load_all(folder / "secret.yaml"):
            values = one.get("stringData") or {}
            secrets |= {str(key): str(value) for key, value in values.items()}
    plain: dict[str, str] = {}
    for one in documents:
        if one.get("kind") == "ConfigMap":
            plain |= {str(key): str(value) for key, value in (one.get("data") or {}).items()}
    component = _read_component(folder)
    if component is not None and secrets:
        component = replace(component, configuration=tuple((key.lower(), value) for key, value in secrets.items()))
    for one in documents:
        kind, where = one.get("kind"), str(folder / "manifests.yaml")
        if kind in _RUNNING | _JOBS:
            try:
                container = _read_container(folder, one, plain, secrets)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, QuantityError) as error:
                raise ManifestError(f"its {kind} cannot be understood: {error!r}", where=where) from error
            unbuilt = component is None and any(path.name == "spin.toml" for path in _below(folder))
            return Workload(folder.name, folder, container, component, job=kind in _JOBS, unbuilt=unbuilt)
    return Workload(folder.name, folder, component=component)


def _load_all(path: Path) -> list[Manifest]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ManifestError(f"is larger than {_MAX_BYTES // 2**20} MiB", where=str(path))
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError("is no YAML", where=str(path)) from error
    return [one for one in documents if isinstance(one, Mapping)]


def _read_container(
    folder: Path, owner: Manifest, plain: Mapping[str, str], secrets: Mapping[str, str]
) -> ContainerPlan:
    spec = owner["spec"]
    if owner["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    security = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    user = "" if "runAsUser" not in security else f"{security['runAsUser']}:{security.get('runAsGroup', 0)}"
    variables = dict(plain) if container.get("envFrom") else {}
    variables |= {str(one["name"]): str(one["value"]) for one in container.get("env") or [] if "value" in one}
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    capabilities = security.get("capabilities") or {}
    sysctls = {one["name"]: one["value"] for one in (pod.get("securityContext") or {}).get("sysctls") or []}
    return ContainerPlan(
        image=str(container["image"]),
        layout=next((one.parent for one in _below(folder) if one.name == "oci-layout"), None),
        command=tuple(map(str, container.get("command") or ())),
        arguments=tuple(map(str, container.get("args") or ())),
        variables=tuple(sorted(variables.items())),
        secrets=tuple(sorted(secrets.items())) if container.get("envFrom") else (),
        user=user,
        working_directory=str(container.get("workingDir") or ""),
        volumes=tuple(str(one["mountPath"]) for one in container.get("volumeMounts") or []),
        ports=tuple(
            int(one["containerPort"])
            for one in container.get("ports") or []
            if one.get("protocol", "TCP") == "TCP"
        ),
        memory_bytes=parse_bytes(str(limit)) if limit is not None else None,
        capabilities=tuple(map(str, capabilities.get("add") or ())),
        dropped=tuple(map(str, capabilities.get("drop") or ())),
        low_ports=sysctls.get("net.ipv4.ip_unprivileged_port_start") == "0",
        hosts=tuple(
            (str(name), str(one["ip"]))
            for one in pod.get("hostAliases") or []
            for name in one.get("hostnames") or []
        ),
    )


def _below(folder: Path) -> Iterator[Path]:
    """The files of a folder and of the two levels below it, in a fixed order."""
    for one in sorted(folder.iterdir()):
        if one.is_dir() and not one.is_symlink():
            for two in sorted(one.iterdir()):
                if two.is_dir() and not two.is_symlink() and two.name != "blobs":
                    yield from (three for three in sorted(two.iterdir()) if three.is_file())
                elif two.is_file():
                    yield two
        elif one.is_file():
            yield one


def _read_component(folder: Path) -> ComponentPlan | None:
    manifest = next((one for one in _below(folder) if one.name == "spin.toml"), None)
    if manifest is not None:
        try:
            document = tomllib.loads(manifest.read_text(encoding="utf-8"))
            for component in document["component"].values():
                source = component["source"]
                wasm = manifest.parent / source
                # The name comes out of a file of this folder, and must stay in it.
                if isinstance(source, str) and wasm.is_file() and wasm.resolve().is_relative_to(folder.resolve()):
                    given = component.get("environment") or {}
                    return ComponentPlan(
                        wasm, tuple((str(key), str(value)) for key, value in sorted(given.items()))
                    )
        except (
            OSError,
            tomllib.TOMLDecodeError,
            UnicodeDecodeError,
            KeyError,
            AttributeError,
            TypeError,
        ) as error:
            raise ManifestError(f"cannot be understood: {error!r}", where=str(manifest)) from error
    wasm_file = next((one for one in _below(folder) if one.suffix == ".wasm"), None)
    return ComponentPlan(wasm_file) if wasm_file is not None else None
