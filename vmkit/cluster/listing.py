"""Lists, read page by page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vmkit.errors import Expired

_MAX_RESTARTS: Final = 5


class _Reply(msgspec.Struct):
    """A list as it comes, its objects not looked into yet."""

    items: list[msgspec.Raw] | None
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class RawPage:
    """One page of a list whose objects are decoded one by one.

    Decoded as a whole, a page keeps the garbage collector busy with tens of thousands of dictionaries at a time;
    decoded one by one, each is gone before the next (a third of the time, measured).
    """

    objects: tuple[msgspec.Raw, ...]
    continue_token: str
    resource_version: str
    remaining: int | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for raw in self.objects:
            try:
                item = _decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                item = None
            yield item if isinstance(item, dict) else {}


def read_page(body: bytes) -> RawPage:
    """Reads the body of a list.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: it is no list of objects.
    """
    reply = _decode_reply(body)
    metadata = reply.metadata if isinstance(reply.metadata, dict) else {}
    token, version = metadata.get("continue"), metadata.get("resourceVersion")
    remaining = metadata.get("remainingItemCount")
    return RawPage(
        objects=tuple(reply.items or ()),
        continue_token=token if isinstance(token, str) else "",
        resource_version=version if isinstance(version, str) else "",
        remaining=remaining if isinstance(remaining, int) else None,
    )


_decode: Final = msgspec.json.Decoder().decode
_decode_reply: Final = msgspec.json.Decoder(_Reply).decode


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        items: the objects. What is no object, or no text, in the reply stands here as an empty one.
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

    def __init__(self, read_page: Callable[[str], RawPage]) -> None:
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
        coming: Future[RawPage] | None = None
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
            paged = bool(token) or bool(seen)
            for item in page:
                if paged:
                    key = _key(item)
                    if restarts and key in seen:
                        continue
                    seen.add(key)
                yield item
            if not token:
                return


def _ahead(read_page: Callable[[str], RawPage], token: str) -> Future[RawPage]:
    """Begins to read a page in a thread of its own, which a list that is dropped half-way simply leaves behind."""
    future: Future[RawPage] = Future()

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
