"""The ledger in the cluster: ConfigMaps, one for each month, more where one is full.

Each VM's page of a month is one key, and a page is written whole from what VMs remember: two that write at once
lose nothing that the next one would not find again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vmkit.cluster.resources import CONFIG_MAPS
from vmkit.cluster.session import Session
from vmkit.errors import AlreadyExists, ConfigError, NotFound
from vmkit.idle.ledger import Page, parse_page, render_page, take_over
from vmkit.vm.state import VmView

PREFIX: Final = "vmkit-ledger-"
LABEL: Final = "vmkit.io/ledger"
_MOST_BYTES: Final = 700_000
"""Of one ConfigMap; Kubernetes refuses above 1 MiB, and a page may still grow."""
_MOST_PARTS: Final = 32


@dataclass(slots=True)
class Book:
    """The ledger as it was read.

    Attributes:
        namespace: where it is kept.
        pages: by uid and month.
        homes: the ConfigMap of each page; ``sizes``: how many bytes each ConfigMap holds.
        notices: what could not be read.
    """

    namespace: str
    pages: dict[tuple[str, str], Page] = field(default_factory=dict)
    homes: dict[tuple[str, str], str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def read_book(session: Session, namespace: str) -> Book:
    """Reads the ledger; an empty one where there is none.

    Raises:
        ClusterError: it may not be read.
    """
    book = Book(namespace)
    for document in session.list(CONFIG_MAPS, namespace, label_selector=f"{LABEL}=true"):
        metadata, data = document.get("metadata"), document.get("data")
        name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
        month = name.removeprefix(PREFIX)[:7]
        if not name.startswith(PREFIX) or not isinstance(data, dict):
            continue
        book.sizes[name] = sum(len(key) + len(str(text)) for key, text in data.items())
        for uid, text in data.items():
            try:
                page = parse_page(uid, month, str(text))
            except ConfigError as error:
                book.notices.append(error.message)
                continue
            book.pages[uid, month] = page
            book.homes[uid, month] = name
    return book


def record(
    session: Session,
    book: Book,
    views: Iterable[VmView],
    at: datetime,
    *,
    is_covered: Callable[[str], bool] = lambda namespace: True,
) -> int:
    """Takes over what VMs remember, and writes it.

    Returns:
        How many pages were written.

    Raises:
        ClusterError: it could not be written; what was is right.
    """
    changed = take_over(book.pages, views, at, is_covered=is_covered)
    by_home: dict[str, dict[str, str]] = {}
    written = 0
    for key in sorted(changed, key=lambda each: (each[1], each[0])):
        text = render_page(changed[key])
        home = _home(book, key, len(key[0]) + len(text))
        if home is None:
            book.notices.append(f"the ledger of {key[1]} is full: {changed[key].ref} is not in it")
            continue
        book.homes[key] = home
        book.pages[key] = changed[key]
        by_home.setdefault(home, {})[key[0]] = text
        written += 1
    for home, data in by_home.items():
        _write(session, book.namespace, home, data)
    return written


def _home(book: Book, key: tuple[str, str], size: int) -> str | None:
    known = book.homes.get(key)
    if known is not None:
        return known
    for part in range(1, _MOST_PARTS + 1):
        name = f"{PREFIX}{key[1]}" if part == 1 else f"{PREFIX}{key[1]}-{part}"
        if book.sizes.get(name, 0) + size <= _MOST_BYTES:
            book.sizes[name] = book.sizes.get(name, 0) + size
            return name
    return None


def _write(session: Session, namespace: str, name: str, data: Mapping[str, str]) -> None:
    body: dict[str, Any] = {"data": dict(data)}
    try:
        session.patch(CONFIG_MAPS, name, body, namespace)
    except NotFound:
        metadata = {"name": name, "labels": {LABEL: "true"}}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **body}
        try:
            session.create(CONFIG_MAPS, document, namespace)
        except AlreadyExists:
            session.patch(CONFIG_MAPS, name, body, namespace)
