"""Lists, read page by page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from vmkit.errors import Expired

_MAX_RESTARTS: Final = 5


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        items: the objects. What is no object in the reply stands here as an empty one.
        continue_token: asks for the next page; empty on the last.
        resource_version: the version the whole list is of; a watch can begin there.
        remaining: how many objects follow, where the server says.
    """

    items: list[dict[str, Any]]
    continue_token: str
    resource_version: str
    remaining: int | None = None


class Listing:
    """An iterator over the objects of a list. While one page is looked at, the next is on its way.

    Where the server forgets the list's version between two pages, reading begins anew; no object comes twice.
    """

    def __init__(self, read_page: Callable[[str], Page]) -> None:
        self._read_page = read_page
        self._version = ""
        self._items = self._run()

    @property
    def resource_version(self) -> str:
        """From which version a watch misses nothing of what changes after these objects were read.

        Empty before the first object. After a fresh beginning it is still the first list's version: what was given
        then may have changed since.
        """
        return self._version

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._items)

    def _run(self) -> Generator[dict[str, Any], None, None]:
        token, restarts = "", 0
        seen: set[str] = set()
        coming: Future[Page] | None = None
        while True:
            try:
                page = self._read_page(token) if coming is None else coming.result()
            except Expired:
                if not token or restarts >= _MAX_RESTARTS:
                    raise
                token, coming, restarts = "", None, restarts + 1
                continue
            self._version = self._version or page.resource_version
            token = page.continue_token
            coming = _ahead(self._read_page, token) if token else None
            if restarts:
                yield from (item for item in page.items if _key(item) not in seen)
            else:
                yield from page.items
            if not token:
                return
            seen.update(_key(item) for item in page.items)


def _ahead(read_page: Callable[[str], Page], token: str) -> Future[Page]:
    """Begins to read a page in a thread of its own; a list that is dropped half-way leaves it behind harmlessly."""
    future: Future[Page] = Future()

    def read() -> None:
        try:
            future.set_result(read_page(token))
        except BaseException as error:  # noqa: BLE001 - raised where the page is wanted
            future.set_exception(error)

    threading.Thread(target=read, name="vmkit-page", daemon=True).start()
    return future


def _key(item: dict[str, Any]) -> str:
    # Namespace and name, not the uid: an object made anew between two tries is still the same line of the list.
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return ""
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
