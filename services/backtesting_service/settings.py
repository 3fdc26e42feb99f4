"""The backtesting service's settings."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from adapters.backtesting import ENGINES
from adapters.csv_bars import SHIPPED, parse_sources
from contracts import names
from contracts.names import ENV_BACKTESTING_ENGINE, ENV_BACKTESTING_WORKERS, ENV_RESULTS_PATH
from services.common.settings import Env, EnvSettings


class BacktestingSettings(EnvSettings):
    """See each field."""

    engine: Annotated[str, Env(ENV_BACKTESTING_ENGINE, " or ".join(ENGINES))] = Field(
        "vectorbt", pattern=f"^({'|'.join(ENGINES)})$"
    )
    """The engine that runs backtests where no route is followed. `memory` is the plain reference."""
    routes: Annotated[str, Env(names.ENV_ROUTES, "kubernetes, or unset it")] = Field("", pattern="^(kubernetes)?$")
    """`kubernetes`: the route says which engine runs them. Unset: see `engine`."""
    namespace: Annotated[str, Env(names.ENV_NAMESPACE, "the namespace of the route")] = names.NAMESPACE
    pod_name: Annotated[str | None, Env(names.ENV_POD_NAME, "this pod's name")] = None
    """The name under which the service makes itself known; the host's where unset."""
    results: Annotated[Path, Env(ENV_RESULTS_PATH, "a folder that outlives the process")]
    """Where requests, states and results are kept."""
    data: Annotated[Path | None, Env(names.ENV_DATA_PATH, "a folder that outlives the process, or unset it")] = None
    """The catalog of histories, which bars that are sent go to. Unset: there is none, and none can be sent."""
    bars_mib: Annotated[int, Env(names.ENV_BACKTESTING_BARS_MIB, "MiB, above 0")] = Field(256, gt=0)
    """How large a file of bars may be that is sent."""
    workers: Annotated[int, Env(ENV_BACKTESTING_WORKERS, "a whole number from 1 to 64")] = Field(1, ge=1, le=64)
    """Processes that run backtests at once. Each holds the engine: about 300 MB with VectorBT."""
    limit_seconds: Annotated[float, Env(names.ENV_BACKTESTING_SECONDS, "seconds, above 0")] = Field(3600, gt=0)
    """How long one run may take; it is ended then, and fails."""
    limit_mib: Annotated[int, Env(names.ENV_BACKTESTING_MIB, "MiB; 0 for any amount")] = Field(0, ge=0)
    """How much memory one run may take beyond its engine; it fails where it asks for more."""
    strategies: Annotated[Path | None, Env(names.ENV_STRATEGIES_PATH, "a folder of Python files, or unset it")] = None
    """Strategies of the user's own, one a file. They are imported and run without network, and see nothing of the
    service's."""
    csv: Annotated[str | None, Env("BACKTESTING_CSV", "SYMBOL=/path/bars.csv[.gz], comma-separated")] = None
    """Histories to test on, besides the shipped ones. A symbol given here stands before a shipped one."""

    @field_validator("csv")
    @classmethod
    def _can_be_read_as_sources(cls, value: str | None) -> str | None:
        if value is not None:
            parse_sources(value)
        return value

    @field_validator("strategies")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("it is no folder: none of your strategies could be run. Mount it, or unset it")
        return value

    @model_validator(mode="after")
    def _folders_can_be_written(self) -> Self:
        _make(ENV_RESULTS_PATH, self.results, "Results")
        if self.data is not None:
            _make(names.ENV_DATA_PATH, self.data, "Histories")
        return self

    @property
    def sources(self) -> Mapping[str, Path]:
        """Symbol -> file."""
        return {**SHIPPED, **(parse_sources(self.csv) if self.csv is not None else {})}

    @property
    def sweeps(self) -> Path:
        """Where sweeps are kept: beside the runs."""
        return self.results.parent / "sweeps"

    @property
    def adapter_name(self) -> str:
        """This replica among the adapters."""
        return names.adapter_name(self.pod_name or socket.gethostname(), names.BACKTESTING_NAME)


def _make(env: str, folder: Path, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{env}={str(folder)!r} cannot be made: {error.strerror}. {what} could not be kept. Mount a volume there "
            "that this user may write"
        ) from None
