"""Items on the models: that they are there, take the key, and answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.known import Fact, Unknown
from cutover.llm_service.asking import Model, Refused, Wrong
from cutover.llm_service.preflight.situation import Situation
from cutover.llm_service.work import HOSTED
from validation.result import Check

_SHOWN = 8


def _fix(backend: str, hosted: str, ours: str) -> str:
    return hosted if backend == HOSTED else ours


def reachable(at: Situation) -> Iterator[Check]:
    """Each endpoint speaks OpenAI's API; one that refuses the key answers, too."""
    for backend in at.backends:
        name, expected = f"{backend}: reachable", "every endpoint answers GET models"
        found = at.of(backend)
        wrong = _told(found, Wrong)
        silent = [
            f"{place}: {why}" for place, why in _told(found, Unknown).items() if place not in _told(found, Refused)
        ]
        fix = _fix(
            backend,
            "See that crossover:llm_service.base_url is right, its version path included, and that pods may reach it",
            "See the pods of our own models (kubectl get pods), and what they log: a model may still be loading",
        )
        if wrong:
            told = "; ".join(f"{place}: {why}" for place, why in wrong.items())
            yield Check.that(name, False, expected=expected, found=told, fix=fix)
        elif silent:
            yield Check.unknown(name, expected=expected, why="; ".join(silent), fix=fix)
        else:
            places = {model.base_url for model in found}
            yield Check.that(name, True, expected=expected, found=f"{len(places)} answer")


def _told(found: dict[Model, Fact[Sequence[str]]], kind: type[Unknown]) -> dict[str, str]:
    """By endpoint, why it did not answer well, where that is of this kind."""
    return {model.base_url: fact.why for model, fact in found.items() if isinstance(fact, kind)}


def key(at: Situation) -> Iterator[Check]:
    """The hosted side's key, also for the way back, and our own token. Of an endpoint that did not answer only
    `reachable` speaks."""
    for backend in at.backends:
        found = at.of(backend)
        if all(isinstance(fact, Unknown) and not isinstance(fact, Refused) for fact in found.values()):
            continue
        refused = _told(found, Refused)
        yield Check.that(
            f"{backend}: key",
            not refused,
            expected="it is taken" + (", which the way back needs as well" if backend == HOSTED else ""),
            found="; ".join(f"{place}: {why}" for place, why in refused.items()) or "it is",
            fix=_fix(
                backend,
                "pulumi config set --path crossover:llm_service.api_key KEY --secret; then pulumi up again",
                f"See that the Secret llm-service holds the token that the pods of {backend} were started with",
            ),
        )


def offered(at: Situation) -> Iterator[Check]:
    """What each alias stands for is there."""
    for model, found in at.listed.items():
        if isinstance(found, Unknown):
            continue
        shown = ", ".join(sorted(found)[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        yield Check.that(
            f"{model.backend}: model of {model.alias}",
            model.name in found,
            expected=f"{model.name} is in the list of GET models",
            found="it is" if model.name in found else f"it is not; there are: {shown or 'none'}",
            fix=_fix(
                model.backend,
                f"pulumi config set --path crossover:llm_service.models.{model.alias} MODEL",
                f"See what the pods of {model.backend} serve, and crossover:llm_service.own.models.{model.alias}",
            ),
        )


def answers(at: Situation) -> Iterator[Check]:
    """A short generation comes, and is one."""
    for model, found in at.answers.items():
        name, expected = f"{model.backend}: answer as {model.alias}", "a short generation that is text, and ends well"
        fix = f"Ask {model.name} at {model.base_url} yourself; see its logs, its limits and its chat template"
        if isinstance(found, Refused | Wrong):
            yield Check.that(name, False, expected=expected, found=found.why, fix=fix)
        elif isinstance(found, Unknown):
            yield Check.unknown(name, expected=expected, why=found.why, fix=fix)
        else:
            yield Check.that(name, not found, expected=expected, found=found or "it came", fix=fix)
