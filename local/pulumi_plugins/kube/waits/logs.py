"""The output of pods: shown while a Job runs, and its last lines where something failed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from local.pulumi_plugins.kube.client import ApiError, Client, Stream, Unreachable
from local.pulumi_plugins.kube.objects import Object, dig, name_of
from local.pulumi_plugins.kube.waits.pods import container_statuses, ending

LAST_LINES = 20
"""Lines of a failed pod's log that stand in the error."""
MAX_SHOWN_LINES = 5000
"""Lines that are shown of one container, so that a runaway Job does not flood the terminal."""
DRAIN_SECONDS = 5.0
"""How long to wait for the rest of a log once the Job has ended."""
_SILENCE_SECONDS = 3600.0

type _Key = tuple[str, str, int]


def log_path(pod: Object) -> str:
    """The path of a pod's log."""
    return f"/api/v1/namespaces/{dig(pod, 'metadata', 'namespace')}/pods/{name_of(pod)}/log"


class Follower:
    """Follows each container of each pod that it is shown, from its start to its end."""

    def __init__(self, client: Client, show: Callable[[str], None], tail: int | None = None) -> None:
        """`tail`: how many lines of output that is already there to show; None shows all."""
        self._client = client
        self._show = show
        self._tail = tail
        self._lock = threading.Lock()
        self._threads: dict[_Key, threading.Thread] = {}
        self._streams: list[Stream] = []
        self._last: dict[tuple[str, str], deque[str]] = {}
        self._stopped = False

    def look(self, pods: list[Object]) -> None:
        """Starts to follow the containers that have begun to run."""
        several = len(pods) > 1
        for pod in pods:
            for status in container_statuses(pod):
                if dig(status, "state", "running") is None and dig(status, "state", "terminated") is None:
                    continue
                container = str(status["name"])
                key = (str(dig(pod, "metadata", "uid")), container, int(status.get("restartCount", 0)))
                if key in self._threads:
                    continue
                prefix = f"{name_of(pod)}: " if several else ""
                thread = threading.Thread(target=self._follow, args=(pod, container, prefix), daemon=True)
                self._threads[key] = thread
                thread.start()

    def _follow(self, pod: Object, container: str, prefix: str) -> None:
        query = {"container": container, "follow": "true"}
        if self._tail is not None:
            query["tailLines"] = str(self._tail)
        try:
            stream = self._client.stream(log_path(pod), query, _SILENCE_SECONDS)
        except (ApiError, Unreachable):
            return  # the last lines are asked for once more where the Job fails
        with self._lock:
            self._streams.append(stream)
            last = self._last.setdefault((name_of(pod), container), deque(maxlen=LAST_LINES))
        for count, raw in enumerate(stream, start=1):
            line = raw.decode(errors="replace").rstrip("\r\n")
            last.append(line)
            if count <= MAX_SHOWN_LINES and not self._stopped:
                self._show(prefix + line)
            if count == MAX_SHOWN_LINES:
                self._show(f"{prefix}(further lines of container {container} are not shown here)")

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Waits until the logs of ended containers have arrived, or the time is over."""
        deadline = time.monotonic() + seconds
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Stops showing lines."""
        self._stopped = True
        with self._lock:
            for stream in self._streams:
                stream.close()

    def last(self, pod: str, container: str) -> list[str]:
        """The last lines seen of a container."""
        with self._lock:
            return list(self._last.get((pod, container), ()))

    def newest(self) -> list[str]:
        """The last lines of the container that was seen last, as a text; empty where none was."""
        with self._lock:
            if not self._last:
                return []
            (pod, container), lines = list(self._last.items())[-1]
            return [_told(f"container {container} of pod {pod}, which is gone", list(lines))]


def _told(head: str, lines: list[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"{head}\n  its last log lines:\n{body}" if lines else f"{head}; its log is empty"


def last_words(client: Client, pod: Object, follower: Follower | None = None) -> list[str]:
    """The last log lines and termination messages of a pod's containers: one text a container."""
    found = []
    for status in container_statuses(pod):
        container = str(status["name"])
        ended = dig(status, "state", "terminated") or dig(status, "lastState", "terminated")
        fine = ended is not None and ended.get("exitCode") == 0 and not int(status.get("restartCount", 0))
        if fine or (ended is None and dig(status, "state", "running") is None):
            continue
        lines = follower.last(name_of(pod), container) if follower else []
        crashed = dig(status, "state", "running") is None and dig(status, "state", "terminated") is None
        lines = lines or _tail(client, pod, container, previous=crashed)
        what = f"container {container} of pod {name_of(pod)}"
        head = f"{what}: {ending(ended)}" if ended else f"{what} is running"
        found.append(_told(head, lines))
    return found


def _tail(client: Client, pod: Object, container: str, *, previous: bool) -> list[str]:
    query: dict[str, Any] = {"container": container, "tailLines": str(LAST_LINES)}
    if previous:
        query["previous"] = "true"
    try:
        return client.text(log_path(pod), query).splitlines()
    except (ApiError, Unreachable):
        return []
