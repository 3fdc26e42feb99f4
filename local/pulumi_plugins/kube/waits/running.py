"""Waits for one object: feeds its judge from watches until it is ready, fails, or time is up."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from local.pulumi_plugins.kube.client import Client
from local.pulumi_plugins.kube.objects import Object, dig, name_of
from local.pulumi_plugins.kube.waits.base import Outcome, Source, Verdict, View, Wait, failed, waiting
from local.pulumi_plugins.kube.waits.logs import Follower, last_words
from local.pulumi_plugins.kube.waits.watching import Message, Refused, Store, Watches

_SUBJECT = "subject"
_TICK_SECONDS = 1.0
"""How often a judge is asked without a change: some faults count only after a while."""
_CANCEL_SECONDS = 0.25
"""How soon a cancelled update is noticed."""


class NotReady(Exception):
    """The object exists but is not ready. `reasons`: what is known, the headline first."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(reasons[0])
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a wait needs beside the object."""

    client: Client
    status: Callable[[str], None]
    """Shows progress."""
    show: Callable[[str], None]
    """Shows a line of a Job's log."""
    cancelled: threading.Event


def wait_until_ready(
    wait: Wait, collection: str, subject: Object, seconds: float, around: Surroundings, *, tail: int | None = None
) -> None:
    """Returns once `subject` (an object of the `collection` path) is ready; raises NotReady.

    `tail`: how many lines of a Job's earlier output to show; None shows all.
    """
    sources = [_subject_source(collection, subject), *wait.sources(subject)]
    follower = Follower(around.client, around.show, tail) if wait.follows_logs else None
    try:
        with Watches(around.client, sources) as watches:
            store, verdict = _loop(wait, sources, watches, seconds, around, follower)
        if verdict.outcome is Outcome.READY:
            if follower:
                follower.drain()
            return
        logs = _pod_logs(store, verdict, around, follower)
        # A container whose log stands here needs no second line that says how it ended.
        told = tuple(text.partition(":")[0] for text in logs)
        details = [text for text in verdict.details if not text.startswith(told)] if told else list(verdict.details)
        raise NotReady(list(dict.fromkeys([verdict.message, *details, *logs])))
    finally:
        if follower:
            follower.close()


def _subject_source(collection: str, subject: Object) -> Source:
    return Source(_SUBJECT, collection, {"fieldSelector": f"metadata.name={name_of(subject)}"})


def _loop(
    wait: Wait, sources: list[Source], watches: Watches, seconds: float, around: Surroundings, follower: Follower | None
) -> tuple[Store, Verdict]:
    """Returns a verdict that is READY or FAILED."""
    store, began, said = Store(), time.monotonic(), ""
    verdict = waiting("waiting for the API server's first answer")
    while True:
        elapsed = time.monotonic() - began
        if around.cancelled.is_set():
            return store, failed(f"the update was cancelled while waiting: {verdict.message}", verdict.details)
        if elapsed >= seconds:
            text = f"not ready after {seconds:.0f} s: {verdict.message}"
            return store, failed(text, verdict.details, verdict.suspects)
        for message in _messages(watches, min(seconds - elapsed, _TICK_SECONDS), around.cancelled):
            store.take(message)
            if isinstance(message, Refused) and message.source == _SUBJECT:
                return store, failed(f"the object cannot be watched: {message.error}")
        if any(source.name not in store.objects for source in sources):
            continue
        view = _view(store, sources, time.monotonic() - began)
        if view.subject is None:
            return store, failed("the object was deleted by someone else while Pulumi waited for it")
        if follower:
            follower.look(view.get("pods"))
        verdict = wait.judge(view)
        if verdict.outcome is not Outcome.WAITING:
            return store, verdict
        if verdict.message != said:
            around.status(verdict.message)
            said = verdict.message


def _messages(watches: Watches, seconds: float, cancelled: threading.Event) -> list[Message]:
    """All messages that are there, waiting for the first up to `seconds`."""
    found: list[Message] = []
    deadline = time.monotonic() + seconds
    while not found and not cancelled.is_set() and (left := deadline - time.monotonic()) > 0:
        try:
            found.append(watches.messages.get(timeout=min(left, _CANCEL_SECONDS)))
        except queue.Empty:
            continue
    while True:
        try:
            found.append(watches.messages.get_nowait())
        except queue.Empty:
            return found


def _view(store: Store, sources: list[Source], elapsed: float) -> View:
    subjects = store.content(_SUBJECT)
    related = {source.name: store.content(source.name) for source in sources if source.name != _SUBJECT}
    return View(subjects[0] if subjects else None, related, elapsed)


def look_once(wait: Wait, subject: Object, client: Client) -> Verdict:
    """What the judge says right now, for refresh. Sources that may not be read count as empty."""
    store = Store()
    sources = wait.sources(subject)
    with Watches(client, sources) as watches:
        while any(source.name not in store.objects for source in sources):
            store.take(watches.messages.get())
    return wait.judge(View(subject, {source.name: store.content(source.name) for source in sources}))


def _pod_logs(store: Store, verdict: Verdict, around: Surroundings, follower: Follower | None) -> list[str]:
    ended = follower is not None and verdict.outcome is Outcome.FAILED and not around.cancelled.is_set()
    if follower and ended:
        follower.drain()
    pods = {name_of(pod): pod for pod in store.content("pods") or store.content(_SUBJECT)}
    texts = []
    for name in verdict.suspects[-2:]:  # two pods tell enough
        if name in pods and dig(pods[name], "spec", "containers") is not None:
            texts += last_words(around.client, pods[name], follower)
    # A Job with restartPolicy OnFailure takes its pod with it when it fails.
    return follower.newest() if follower and ended and not texts else texts


def wait_until_gone(collection: str, subject: Object, seconds: float, around: Surroundings) -> None:
    """Returns once the object with `subject`'s uid no longer exists; raises NotReady."""
    uid = dig(subject, "metadata", "uid")
    source, store, began = _subject_source(collection, subject), Store(), time.monotonic()
    said = False
    with Watches(around.client, [source]) as watches:
        while True:
            left = seconds - (time.monotonic() - began)
            live = next((item for item in store.content(_SUBJECT) if dig(item, "metadata", "uid") == uid), None)
            if _SUBJECT in store.objects and live is None:
                if said:
                    around.status("")
                return
            if not said and seconds - left >= _TICK_SECONDS:
                around.status(f"waiting for {name_of(subject)} to be gone")
                said = True
            if around.cancelled.is_set() or left <= 0:
                why = "the update was cancelled" if around.cancelled.is_set() else f"{seconds:.0f} s have passed"
                raise NotReady(
                    [f"{why}, and {name_of(subject)} still exists although its deletion was asked for", *_held_by(live)]
                )
            for message in _messages(watches, min(left, _TICK_SECONDS), around.cancelled):
                store.take(message)
                if isinstance(message, Refused):
                    raise NotReady([f"deletion cannot be watched: {message.error}"])


def _held_by(live: Object | None) -> list[str]:
    finalizers = dig(live, "metadata", "finalizers", default=[])
    conditions = dig(live, "status", "conditions", default=[])
    found = [f"it is held by finalizers: {', '.join(finalizers)}"] if finalizers else []
    return found + [str(item["message"]) for item in conditions if item.get("status") == "True" and item.get("message")]
