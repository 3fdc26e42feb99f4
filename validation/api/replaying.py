"""Asks recorded requests again, in their order, and says what became of each answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlsplit

from pydantic import JsonValue

from validation.api.comparing import CannotCompare, differences
from validation.api.exchange import Answer, Exchange, Request, field_of
from validation.api.rules import RULES, Rule, rule_of
from validation.result import Check, Report, Verdict

WAIT_SECONDS = 120.0
"""How long what is done aside may take."""
_POLL_SECONDS = 0.25
_SHOWN = 5


class NotAnswered(Exception):
    """A request that could not be asked, or had no answer: why."""


Ask = Callable[[str, Request], Answer]
"""Asks a service, by its name. Raises NotAnswered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An exchange, and what it is answered now; `why` there is no answer, or none that can be used."""

    exchange: Exchange
    answer: Answer | None
    why: str = ""


def ask_all(
    exchanges: Sequence[Exchange],
    ask: Ask,
    *,
    wait: float = WAIT_SECONDS,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Asked]:
    """Ask each, in order. One that lacks what an earlier answer should have given says so; the others are asked."""
    kept: dict[str, str] = {}
    for exchange in exchanges:
        try:
            request = _filled(exchange.request, kept)
            answer = _asked(exchange, request, ask, wait, pause, now)
            kept |= _kept(exchange, answer)
        except NotAnswered as error:
            yield Asked(exchange, None, str(error))
        else:
            yield Asked(exchange, answer)


def recorded(asked: Sequence[Asked]) -> list[Exchange]:
    """The exchanges with their answers. Raises NotAnswered where one has none."""
    lacking = next((one for one in asked if one.answer is None), None)
    if lacking is not None:
        raise NotAnswered(f"{lacking.exchange.name}: {lacking.why}")
    return [one.exchange.model_copy(update={"answer": one.answer}) for one in asked]


def compared(asked: Sequence[Asked], rules: Sequence[Rule] = RULES, *, settled: bool = False) -> Report:
    """A check for each exchange: the answer is the same, it is not, or that could not be told."""
    checks = tuple(_check(one, rules, settled) for one in asked)
    counts = {verdict: sum(check.outcome is verdict for check in checks) for verdict in Verdict}
    figures = {
        "same": counts[Verdict.HOLDS],
        "different": counts[Verdict.DOES_NOT_HOLD],
        "not_compared": counts[Verdict.COULD_NOT_CHECK],
    }
    return Report(subject="recorded traffic", checks=checks, figures=figures)


def _check(one: Asked, rules: Sequence[Rule], settled: bool) -> Check:
    exchange, expected = one.exchange, "the recorded answer"
    if exchange.answer is None or one.answer is None:
        why = one.why or "it was recorded without an answer: crossover replay record"
        return Check.unknown(exchange.name, expected=expected, why=why)
    rule = rule_of(rules, exchange.service, exchange.request.method, exchange.request.path)
    try:
        found = differences(exchange.answer, one.answer, rule, settled=settled)
    except CannotCompare as error:
        return Check.unknown(exchange.name, expected=expected, why=str(error))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Check.that(
        exchange.name, not found, expected=expected, found=f"{len(found)} fields differ" if found else "the same",
        detail="; ".join(one.words() for one in found[:_SHOWN]) + more,
    )  # fmt: skip


def at_addresses(addresses: Mapping[str, str], timeout: float = 60.0) -> Ask:
    """Asks services at http://host:port, by name."""

    def ask(service: str, request: Request) -> Answer:
        if service not in addresses:
            raise NotAnswered(f"no address of {service} is given")
        parts = urlsplit(addresses[service])
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        body = None if request.body is None else json.dumps(request.body).encode()
        headers = {**({"content-type": "application/json"} if body else {}), **request.kept}
        try:
            connection.request(request.method, request.path, body, headers)
            response = connection.getresponse()
            return Answer.read(response.status, response.getheader("content-type") or "", response.read())
        except (OSError, HTTPException) as error:
            raise NotAnswered(f"{service} does not answer: {error.__class__.__name__}") from error
        finally:
            connection.close()

    return ask


def _asked(
    exchange: Exchange, request: Request, ask: Ask, wait: float, pause: Callable[[float], None],
    now: Callable[[], float],
) -> Answer:  # fmt: skip
    deadline = now() + wait
    while True:
        answer = ask(exchange.service, request)
        if not answer.good or all(_value(answer, field) in values for field, values in exchange.until.items()):
            return answer
        if now() > deadline:
            raise NotAnswered(f"it did not come to {dict(exchange.until)} within {wait:g} s")
        pause(_POLL_SECONDS)  # an API that is polled tells nobody


def _value(answer: Answer, field: str) -> JsonValue:
    try:
        return field_of(answer.content, field)
    except LookupError:
        raise NotAnswered(f"its answer has no {field}, which is waited for") from None


def _filled(request: Request, kept: Mapping[str, str]) -> Request:
    path = request.path
    for name, value in kept.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    if "{" in path:
        raise NotAnswered(f"an earlier answer gave nothing for {path}")
    return request.model_copy(update={"path": path})


def _kept(exchange: Exchange, answer: Answer) -> dict[str, str]:
    found = {}
    for name, field in exchange.keeps.items():
        try:
            found[name] = str(field_of(answer.content, field))
        except LookupError:
            continue  # whoever needs it says so
    return found
