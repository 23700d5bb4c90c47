"""One image in an OCI layout: blobs named by their digests, a manifest, an index.

The same content gives the same digests: times are the files' own, the image's is the start of Unix time.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from vmkit.errors import EvidenceError, Refused

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
REFERENCE_NAME: Final = "org.opencontainers.image.ref.name"
_CREATED: Final = "1970-01-01T00:00:00Z"
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
_PIECE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What points at a blob: its media type, digest ("sha256:...") and size."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**document, "annotations": dict(self.annotations)} if self.annotations else document


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How a container of the image runs; empty values are left to the runtime."""

    command: Sequence[str]
    user: str = ""
    working_directory: str = ""
    stop_signal: str = ""
    ports: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    machine: str = "x86_64"
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self, diff_ids: Sequence[str]) -> dict[str, Any]:
        """The image's configuration (image-spec, config.md)."""
        config: dict[str, Any] = {
            "Env": [f"{name}={value}" for name, value in sorted(self.environment.items())],
            "Cmd": list(self.command),
        }
        if self.user:
            config["User"] = self.user
        if self.working_directory:
            config["WorkingDir"] = self.working_directory
        if self.stop_signal:
            config["StopSignal"] = self.stop_signal
        if self.ports:
            config["ExposedPorts"] = {f"{port}/tcp": {} for port in self.ports}
        if self.labels:
            config["Labels"] = dict(self.labels)
        return {
            "created": _CREATED,
            "architecture": _ARCHITECTURES.get(self.machine, self.machine),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created": _CREATED, "created_by": "vmkit migrate generate"}],
        }


class _Hashing:
    """A file that knows the digest and the length of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        self._file.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class LayoutWriter:
    """Writes one image into a folder that is not there yet, or is empty.

    Raises:
        Refused: the folder holds something.
    """

    def __init__(self, target: Path) -> None:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise Refused(
                "it is there already", hint="give a folder that is empty or not there yet", where=str(target)
            )
        self._target = target
        self._blobs = target / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)

    def add_bytes(self, data: bytes, media_type: str) -> Descriptor:
        """Adds a small blob."""
        digest = hashlib.sha256(data).hexdigest()
        (self._blobs / digest).write_bytes(data)
        return Descriptor(media_type, f"sha256:{digest}", len(data))

    def add_file(self, path: Path, media_type: str) -> Descriptor:
        """Adds a file as a blob."""

        def copy(write: Callable[[bytes], object]) -> None:
            with path.open("rb") as source:
                while piece := source.read(_PIECE):
                    write(piece)

        return self._add(copy, media_type)

    def add_layer(
        self, fill: Callable[[Callable[[bytes], object]], None], *, level: int = 1
    ) -> tuple[Descriptor, str]:
        """Adds a layer.

        Args:
            fill: writes a tar through the function it is given.
            level: gzip's; 1 is four times as fast as the usual 6, for a tenth more bytes.

        Returns:
            The layer's descriptor and its diff id (the digest of the tar itself).
        """
        plain = hashlib.sha256()

        def compress(write: Callable[[bytes], object]) -> None:
            packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
            check = length = 0
            held: list[bytes] = []
            waiting = 0
            # A header with no name and no time, and "unknown" as the system (RFC 1952).
            write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff")

            def flush() -> None:
                nonlocal check, length, waiting
                data = b"".join(held)
                held.clear()
                waiting = 0
                plain.update(data)
                check = zlib.crc32(data, check)
                length += len(data)
                write(packer.compress(data))

            def take(data: bytes) -> None:
                nonlocal waiting
                held.append(data)
                waiting += len(data)
                if waiting >= _PIECE:
                    flush()

            fill(take)
            flush()
            write(packer.flush())
            write(check.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little"))

        return self._add(compress, LAYER_TYPE), f"sha256:{plain.hexdigest()}"

    def _add(self, fill: Callable[[Callable[[bytes], object]], None], media_type: str) -> Descriptor:
        unfinished = self._blobs / ".unfinished"
        with unfinished.open("wb") as file:
            hashing = _Hashing(file)
            fill(hashing.write)
        unfinished.rename(self._blobs / hashing.digest.removeprefix("sha256:"))
        return Descriptor(media_type, hashing.digest, hashing.size)

    def finish(
        self,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        reference: str = "latest",
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Writes the manifest and the index; the layout is whole from then on."""
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.to_dict(),
            "layers": [one.to_dict() for one in layers],
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        found = self.add_bytes(encode(manifest), MANIFEST_TYPE)
        listed = {**found.to_dict(), "annotations": {REFERENCE_NAME: reference}}
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [listed]}
        (self._target / "index.json").write_bytes(encode(index))
        (self._target / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
        return found


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON as short as it gets, keys in the order in which they stand."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Layout:
    """An image in an OCI layout, read back."""

    folder: Path
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def size_bytes(self) -> int:
        return self.config.size + sum(one.size for one in self.layers)

    def path(self, descriptor: Descriptor) -> Path:
        """The file of a blob."""
        return blob_path(self.folder, descriptor.digest)


def blob_path(folder: Path, digest: str) -> Path:
    """Where a layout keeps a blob.

    Raises:
        EvidenceError: the digest is no sha256, which is the only one that is read here.
    """
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or any(letter not in "0123456789abcdef" for letter in value):
        raise EvidenceError(f"{digest[:100]!r} is no sha256 digest", where=str(folder))
    return folder / "blobs" / "sha256" / value


def read_layout(folder: Path) -> Layout:
    """Reads the layout of one image.

    Raises:
        EvidenceError: it is none, holds several images, or lacks a blob.
    """
    try:
        index = json.loads((folder / "index.json").read_bytes())
        listed = index["manifests"]
        if len(listed) != 1:
            raise EvidenceError(f"it holds {len(listed)} images, one is expected", where=str(folder))
        manifest = read_descriptor(listed[0])
        document = json.loads(blob_path(folder, manifest.digest).read_bytes())
        config = read_descriptor(document["config"])
        layers = tuple(read_descriptor(one) for one in document["layers"])
        for one in (config, *layers):
            if blob_path(folder, one.digest).stat().st_size != one.size:
                raise EvidenceError(f"blob {one.digest} is not as long as its manifest says", where=str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EvidenceError(
            f"it is no OCI layout: {error!r}",
            hint="vmkit migrate generate --image frozen writes one",
            where=str(folder),
        ) from error
    return Layout(folder, manifest, config, layers)


def read_descriptor(document: Mapping[str, Any]) -> Descriptor:
    """A descriptor as it stands in a manifest or an index."""
    return Descriptor(str(document["mediaType"]), str(document["digest"]), int(document["size"]))
