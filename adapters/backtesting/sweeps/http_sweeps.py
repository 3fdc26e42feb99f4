"""Sweeps of the backtesting service, over HTTP."""

from __future__ import annotations

from typing import override

from pydantic import ValidationError

from adapters.backtesting.http_jobs import answered
from adapters.backtesting.jobs import JobRefused
from adapters.backtesting.sweeps.parts import Parts
from adapters.backtesting.sweeps.tables import MEDIA_TYPE
from contracts.sweeps import Standing, SweepAsked, SweepState


class HttpSweeps:
    """The service at `base_url`, http://host:port. Every method raises JobsUnavailable and JobRefused."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")

    def register(self, asked: SweepAsked) -> SweepState:
        """Have the sweep kept; the same that was asked for before is the same sweep, as far as it came."""
        body = asked.model_dump(mode="json", exclude_defaults=True)
        return self._read(answered(self.base_url, "POST", "/sweeps", json=body).content)

    def state(self, sweep_id: str) -> SweepState:
        """A sweep that is kept."""
        return self._read(answered(self.base_url, "GET", f"/sweeps/{sweep_id}").content)

    def standing(self, sweep_id: str, top: int | None = None) -> Standing:
        """A sweep that is kept, with the best of it so far."""
        path = f"/sweeps/{sweep_id}/top"
        return Standing.model_validate_json(answered(self.base_url, "GET", path, params={"count": top}).content)

    def delete(self, sweep_id: str) -> None:
        """Delete a sweep, with its pieces."""
        answered(self.base_url, "DELETE", f"/sweeps/{sweep_id}")

    def parts(self, sweep_id: str) -> HttpParts:
        """Its pieces."""
        return HttpParts(self, sweep_id)

    def _read(self, content: bytes) -> SweepState:
        try:
            return SweepState.model_validate_json(content)
        except ValidationError as error:
            raise JobRefused(f"the sweep is of another version: {error.errors()[0]['msg']}") from None


class HttpParts(Parts):
    """The pieces of one sweep."""

    def __init__(self, sweeps: HttpSweeps, sweep_id: str) -> None:
        self._sweeps, self._id = sweeps, sweep_id

    @override
    def done(self) -> frozenset[int]:
        return frozenset(self._sweeps.state(self._id).done)

    @override
    def put(self, index: int, content: bytes) -> None:
        answered(self._sweeps.base_url, "PUT", self._path(index), data=content, headers={"content-type": MEDIA_TYPE})

    @override
    def read(self, index: int) -> bytes:
        return answered(self._sweeps.base_url, "GET", self._path(index)).content

    def _path(self, index: int) -> str:
        return f"/sweeps/{self._id}/parts/{index}"
