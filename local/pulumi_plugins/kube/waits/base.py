"""What judges see and say."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local.pulumi_plugins.kube.objects import Object, dig, name_of

GRACE_SECONDS = 30.0
"""How long a fault may last that often heals by itself: an image that cannot be pulled yet,
a Secret or service account that comes a moment later."""


class Outcome(enum.Enum):
    """Whether the wait is over."""

    READY = enum.auto()
    WAITING = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of an object."""

    outcome: Outcome
    message: str
    """One line: what holds, what is waited for, or what failed."""
    details: tuple[str, ...] = ()
    """What is known about the cause: said when the wait fails or ends by its time."""
    suspects: tuple[str, ...] = ()
    """Names of pods whose last log lines explain it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A collection to watch. `query`: labelSelector, fieldSelector."""

    name: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """All that is known at one moment. `subject` is None once the object was deleted."""

    subject: Object | None
    related: Mapping[str, list[Object]] = field(default_factory=dict)
    elapsed: float = 0.0
    """Seconds since the wait began."""

    def get(self, source: str) -> list[Object]:
        """The objects of one source, by name."""
        return sorted(self.related.get(source, []), key=name_of)


@dataclass(frozen=True, slots=True)
class Wait:
    """How to wait for one kind."""

    judge: Callable[[View], Verdict]
    """Called with every change, and once a second. The view's subject is never None."""
    seconds: float
    """How long, unless the resource says otherwise."""
    sources: Callable[[Object], list[Source]] = lambda _: []
    """What else to watch, given the object."""
    follows_logs: bool = False
    """Whether the pods' output is shown while they run (Jobs)."""


def ready(message: str) -> Verdict:
    """The wait is over and all is well."""
    return Verdict(Outcome.READY, message)


def waiting(message: str, details: tuple[str, ...] = (), suspects: tuple[str, ...] = ()) -> Verdict:
    """Not yet."""
    return Verdict(Outcome.WAITING, message, details, suspects)


def failed(message: str, details: tuple[str, ...] = (), suspects: tuple[str, ...] = ()) -> Verdict:
    """It will not become ready by itself."""
    return Verdict(Outcome.FAILED, message, details, suspects)


def label_query(selector: Object) -> dict[str, str]:
    """A LabelSelector as a query: {"labelSelector": "a=b,c in (d)"}."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, operator = expression["key"], expression["operator"]
        values = ",".join(expression.get("values") or [])
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return {"labelSelector": ",".join(terms)}


def in_namespace(subject: Object, plural: str, root: str = "/api/v1") -> str:
    """The path of a collection in the subject's namespace."""
    return f"{root}/namespaces/{dig(subject, 'metadata', 'namespace', default='default')}/{plural}"


def events_about(subject: Object) -> Source:
    """The events whose subject is this very object."""
    uid = dig(subject, "metadata", "uid", default="")
    return Source(
        "events", in_namespace(subject, "events"), {"fieldSelector": f"involvedObject.uid={uid},type=Warning"}
    )


def warnings(view: View) -> tuple[str, ...]:
    """The newest warning of each reason."""
    newest: dict[str, Object] = {}
    for event in view.related.get("events", []):
        reason = str(event.get("reason"))
        if reason not in newest or _time(event) >= _time(newest[reason]):
            newest[reason] = event
    return tuple(f"[{reason}] {event.get('message', '')}" for reason, event in sorted(newest.items()))


def _time(event: Object) -> str:
    # RFC 3339 in UTC: texts order as times do.
    return str(
        event.get("lastTimestamp") or event.get("eventTime") or dig(event, "metadata", "creationTimestamp") or ""
    )


def observed(subject: Object) -> bool:
    """Whether the controller's status speaks of the newest spec."""
    generation = dig(subject, "metadata", "generation", default=0)
    return bool(dig(subject, "status", "observedGeneration", default=-1) >= generation)
