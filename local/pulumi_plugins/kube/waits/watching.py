"""Follows collections of the API by list and watch, and keeps what they hold now."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from local.pulumi_plugins.kube.client import GONE, WATCH_SECONDS, ApiError, Client, Stream, Unreachable
from local.pulumi_plugins.kube.objects import Object, dig
from local.pulumi_plugins.kube.waits.base import Source

_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 8.0
_JOIN_SECONDS = 2.0
"""How long to wait for threads at the end; one may be in the middle of a list request."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A source's whole content."""

    source: str
    items: list[Object]


@dataclass(frozen=True, slots=True)
class Changed:
    """One object of a source was added, changed, or (`gone`) deleted."""

    source: str
    item: Object
    gone: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server does not show this source: `error` says why."""

    source: str
    error: ApiError


type Message = Listed | Changed | Refused


@dataclass
class Store:
    """What the sources hold, by uid."""

    objects: dict[str, dict[str, Object]] = field(default_factory=dict)

    def take(self, message: Message) -> None:
        """Brings the store up to date."""
        if isinstance(message, Refused):
            self.objects.setdefault(message.source, {})
        elif isinstance(message, Listed):
            self.objects[message.source] = {_uid(item): item for item in message.items}
        elif message.gone:
            self.objects.setdefault(message.source, {}).pop(_uid(message.item), None)
        else:
            self.objects.setdefault(message.source, {})[_uid(message.item)] = message.item

    def content(self, source: str) -> list[Object]:
        """The objects of one source."""
        return list(self.objects.get(source, {}).values())


def _uid(item: Object) -> str:
    return str(dig(item, "metadata", "uid", default=""))


class Watches:
    """One thread a source, all writing to `messages`. Use as a context manager."""

    def __init__(self, client: Client, sources: Sequence[Source]) -> None:
        self.messages: queue.Queue[Message] = queue.Queue()
        self._client = client
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._threads = [
            threading.Thread(target=self._follow, args=(source,), name=f"watch-{source.name}", daemon=True)
            for source in sources
        ]

    def __enter__(self) -> Watches:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._lock:
            for stream in self._streams:
                stream.close()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _follow(self, source: Source) -> None:
        pause = _PAUSE_SECONDS
        while not self._stop.is_set():
            try:
                version = self._list(source)
                pause = _PAUSE_SECONDS
                while version and not self._stop.is_set():
                    version = self._watch(source, version)
            except Unreachable:
                # The API server may restart meanwhile; the wait's own deadline ends this.
                self._stop.wait(pause)
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)
            except ApiError as error:
                if error.status != GONE and error.status < 500:
                    self.messages.put(Refused(source.name, error))
                    return
                self._stop.wait(pause)
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    def _list(self, source: Source) -> str:
        answer = self._client.get(source.path, dict(source.query))
        self.messages.put(Listed(source.name, answer.get("items") or []))
        return str(dig(answer, "metadata", "resourceVersion", default=""))

    def _watch(self, source: Source, version: str) -> str:
        """Reads one watch to its end; returns where to go on, or "" to list anew."""
        query = {
            **source.query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        opened = time.monotonic()
        stream = self._client.stream(source.path, query)
        if not self._register(stream):
            stream.finish()
            return ""
        try:
            for line in stream:
                event = json.loads(line)
                item: Object = event["object"]
                if event["type"] == "ERROR":
                    return ""  # 410: the version is too old, or the server's state is unknown
                version = str(dig(item, "metadata", "resourceVersion", default=version))
                if event["type"] != "BOOKMARK":
                    self.messages.put(Changed(source.name, item, gone=event["type"] == "DELETED"))
        except ValueError:
            return ""  # a line was cut off in the middle: the connection broke
        finally:
            with self._lock:
                self._streams.discard(stream)
        if time.monotonic() - opened < _PAUSE_SECONDS:
            self._stop.wait(_PAUSE_SECONDS)  # a proxy that ends watches at once must not be hammered
        return version

    def _register(self, stream: Stream) -> bool:
        with self._lock:
            if self._stop.is_set():
                return False
            self._streams.add(stream)
            return True
