"""The backtesting service over HTTP. The one module of the runtime that imports requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, override

import requests
from pydantic import ValidationError

from adapters.backtesting.jobs import Job, JobRefused, Jobs, JobsUnavailable, Offer
from contracts.backtests import BacktestAsked, Divergence, Result

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 60.0
_PAGE, _MOST = 200, 1000


class HttpJobs(Jobs):
    """The service at `base_url`, http://host:port. Each call has a connection of its own: a Service would send all of a
    kept one to a pod that is gone."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")

    @override
    def offer(self) -> Offer:
        body = self._asked("GET", "/offer")
        legs = {one["name"]: int(one.get("symbols", 1)) for one in body["strategies"]}
        return Offer(legs, tuple(body["symbols"]), frozenset(body.get("engines", ())), body.get("serving", ""))

    @override
    def submit(self, asked: BacktestAsked) -> Job:
        return _job(self._asked("POST", "/backtests", json=asked.model_dump(mode="json", exclude_defaults=True)))

    @override
    def job(self, run_id: str) -> Job:
        return _job(self._asked("GET", f"/backtests/{run_id}"))

    @override
    def result(self, run_id: str) -> Result:
        body = self._asked("GET", f"/backtests/{run_id}/result")
        try:
            return Result.model_validate(body)
        except ValidationError as error:
            raise JobRefused(f"the result of {run_id} is of another version: {error.errors()[0]['msg']}") from None

    @override
    def divergence(self, run_id: str) -> Divergence | None:
        try:
            return Divergence.model_validate(self._asked("GET", f"/backtests/{run_id}/divergence"))
        except JobRefused:
            return None

    @override
    def unended(self) -> int:
        page = self._asked("GET", "/backtests", params={"limit": str(_MOST)})
        return sum(run["state"] in ("queued", "running") for run in page["items"])

    @override
    def finished(self, limit: int) -> Sequence[Job]:
        found = (_job(run) for run in self._newest() if run["state"] == "done")
        return list(islice(found, limit))

    @override
    def recorded(self, limit: int) -> Sequence[BacktestAsked]:
        found: list[BacktestAsked] = []
        for run in self._newest():
            if len(found) >= limit:
                break
            asked = BacktestAsked.model_validate({**run["request"], "engine": None})
            if run["state"] == "done" and not run.get("twin_of") and asked not in found:
                found.append(asked)
        return found

    def _newest(self) -> Iterator[Any]:
        """All runs, the newest first, a page at a time."""
        params: dict[str, str] = {"limit": str(_PAGE)}
        while True:
            page = self._asked("GET", "/backtests", params=params)
            yield from page["items"]
            if page["next"] is None:
                return
            params["after"] = page["next"]

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        try:
            return answered(self._base_url, method, path, **more).json()
        except requests.RequestException as error:
            raise JobsUnavailable(f"{self._base_url}{path}: {type(error).__name__}") from error


def answered(base_url: str, method: str, path: str, **more: Any) -> requests.Response:
    """What the service at `base_url` answers. Raises JobsUnavailable, and JobRefused where it refuses for good."""
    try:
        answer = requests.request(method, base_url + path, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS), **more)
        body = None if answer.ok else answer.json()
    except requests.RequestException as error:
        raise JobsUnavailable(f"{base_url}{path}: {type(error).__name__}") from error
    if answer.ok:
        return answer
    said = body.get("error") or body.get("detail") if isinstance(body, dict) else body
    kind = JobsUnavailable if answer.status_code >= 500 or answer.status_code == 429 else JobRefused
    raise kind(f"{base_url}{path} answers {answer.status_code}: {said}")


def _job(body: Any) -> Job:
    ends = [body.get(name) for name in ("submitted_at", "ended_at")]
    began, ended = [datetime.fromisoformat(end) if end else None for end in ends]
    seconds = (ended - began).total_seconds() if began and ended else 0.0
    return Job(body["id"], body["engine"], body["state"], body.get("error") or "", seconds)
