"""All that preflight decides over: what models, adapters and the cluster said, asked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.known import Fact
from adapters.routes.base import GpuNode, Permission
from contracts.llm_memory import GpuNeed
from contracts.registry import AdapterRecord
from contracts.routes import Route
from cutover.llm_service.asking import Model
from cutover.llm_service.work import OURS
from cutover.plan import Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was found before `transition`. `listed`: by model, what its endpoint offers; `answers`: by model, what is
    wrong with its answer, of those that were asked. `gpus`: what our own models need, none on CPUs; `nodes`: what nodes
    there are, where that matters."""

    transition: Transition
    route: Route | None
    listed: Mapping[Model, Fact[Sequence[str]]]
    answers: Mapping[Model, Fact[str]]
    adapters: Fact[Sequence[AdapterRecord]]
    present: Fact[frozenset[str]]
    permissions: Fact[Mapping[Permission, bool]]
    gpus: Sequence[GpuNeed] = ()
    nodes: Fact[Sequence[GpuNode]] = ()

    @property
    def backends(self) -> tuple[str, ...]:
        """Those that were asked."""
        return tuple(dict.fromkeys(model.backend for model in self.listed))

    def of(self, backend: str) -> dict[Model, Fact[Sequence[str]]]:
        """What the models of `backend` said."""
        return {model: found for model, found in self.listed.items() if model.backend == backend}

    @property
    def going_back(self) -> bool:
        """Whether traffic returns to the hosted side. What is no danger to it must not stand in the way of that."""
        return self.transition.goes_back

    @property
    def ours(self) -> bool:
        """Whether our own models are needed."""
        return OURS in self.backends
