"""A component in the OCI layouts that hosts pull: Spin's own, and the plain one of the component model.

Sources: spin crates/oci/src/client.rs and containerd-shim-spin src/source.rs (which media types it looks for);
the Bytecode Alliance's wasm OCI artifact (one application/wasm layer), which wasmCloud, wkg and Spin read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmkit.migrate.oci.layout import CONFIG_TYPE, Descriptor, LayoutWriter, encode
from vmkit.migrate.wasm.spin import SpinApp, build_locked_app

SPIN_COMPONENT_TYPE: Final = "application/vnd.wasm.content.layer.v1+wasm"
SPIN_APPLICATION_TYPE: Final = "application/vnd.fermyon.spin.application.v1+config"
WASM_TYPE: Final = "application/wasm"
WASM_CONFIG_TYPE: Final = "application/vnd.wasm.config.v0+json"
_LOCKED: Final = "com.fermyon.spin.lockedAppDigest"
_CREATED: Final = "1970-01-01T00:00:00Z"
_EXPORTS: Final = ("wasi:http/incoming-handler@0.2.0",)


def write_spin_layout(component: Path, app: SpinApp, target: Path, *, reference: str = "latest") -> Descriptor:
    """Writes what spin registry push would push; returns the manifest's descriptor.

    Raises:
        Refused: the target holds something.
    """
    writer = LayoutWriter(target)
    wasm = writer.add_file(component, SPIN_COMPONENT_TYPE)
    locked = writer.add_bytes(encode(build_locked_app(app, digest=wasm.digest)), SPIN_APPLICATION_TYPE)
    config = {
        "created": _CREATED,
        "architecture": "wasm",
        "os": "Wasip1",
        "config": {"Labels": {_LOCKED: locked.digest}},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    return writer.finish(
        writer.add_bytes(encode(config), CONFIG_TYPE),
        [wasm, locked],
        reference=reference,
        annotations={"org.opencontainers.image.title": app.name},
    )


def write_component_layout(component: Path, target: Path, *, name: str, reference: str = "latest") -> Descriptor:
    """Writes the component alone; it has no environment and no variables then.

    Raises:
        Refused: the target holds something.
    """
    writer = LayoutWriter(target)
    wasm = writer.add_file(component, WASM_TYPE)
    config = {
        "created": _CREATED,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [wasm.digest],
        "component": {"exports": list(_EXPORTS), "imports": []},
    }
    return writer.finish(
        writer.add_bytes(encode(config), WASM_CONFIG_TYPE),
        [wasm],
        reference=reference,
        annotations={"org.opencontainers.image.title": name},
    )
