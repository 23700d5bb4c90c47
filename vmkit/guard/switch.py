"""The suspend switch: one ConfigMap that everything automatic reads before each change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import CONFIG_MAPS
from vmkit.cluster.session import Session
from vmkit.errors import AlreadyExists, NotFound

DEFAULT_NAMESPACE: Final = "vmkit"
DEFAULT_NAME: Final = "vmkit-switch"
_KEY: Final = "suspend"


@dataclass(frozen=True, slots=True)
class Switch:
    """Where the switch is. No ConfigMap, or one that says "false", means that changes may be made."""

    namespace: str = DEFAULT_NAMESPACE
    name: str = DEFAULT_NAME

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name}"

    def is_suspended(self, session: Session) -> bool:
        """Whether changes are suspended. Any word but "false" suspends: it was put there for a purpose.

        Raises:
            ClusterError: nobody can tell; then nothing is changed.
        """
        found = session.find(CONFIG_MAPS, self.name, self.namespace)
        if found is None:
            return False
        data = found.get("data")
        text: Any = data.get(_KEY, "false") if isinstance(data, dict) else "false"
        return str(text).strip().lower() != "false"

    def set(self, session: Session, *, suspended: bool) -> None:
        """Turns it.

        Raises:
            ClusterError: it could not be written; the namespace may be missing.
        """
        body = {"data": {_KEY: "true" if suspended else "false"}}
        try:
            session.patch(CONFIG_MAPS, self.name, body, self.namespace)
        except NotFound:
            document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, **body}
            try:
                session.create(CONFIG_MAPS, document, self.namespace)
            except AlreadyExists:
                session.patch(CONFIG_MAPS, self.name, body, self.namespace)
