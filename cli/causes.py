"""The likely cause of what doctor finds wrong, where the finding itself does not tell it. docs/troubleshooting.md has
the same for people who begin with a symptom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from validation.result import Check, Verdict

CAUSES = {
    "pulumi": "the shell has not read .crossover/env, or another installation comes first on PATH",
    "kubectl": "the shell has not read .crossover/env, or another installation comes first on PATH",
    "cluster": "another context than was meant, its credentials have run out, or its API server is down",
    "rights": "another user than the one who deployed",
    "route": "an update failed, or was not run since config changed",
    "transition": "a check of the last transition did not hold; its log names it",
    "emergency": "the dead side is back, and config still says that it is dead",
    "fence": "the run that held it was ended, or its node is gone",
    "stranded": "traffic fled from a side that held what the other did not have yet",
    "adapters": "no service runs, or one cannot reach the API server or its backend",
    "comparison": "nothing compared both sides lately, or they differ",
    "carried": "a table was made or changed on one side, a slot is lost, or a row could not be applied",
    "backup": "no backup was made lately, or it was made of the other side",
    "audit log": "it was written past this program, or could not be reached when something ended",
}
"""By the name of a check, without its component."""
DEPLOYMENT = "its pods start, or what they depend on refuses them"
"""Of a Deployment on which a component's moving rests."""


def with_causes(checks: Iterable[Check]) -> Iterator[Check]:
    """The same, with the likely cause of each that does not hold and says no more than that."""
    for check in checks:
        cause = CAUSES.get(_asked(check.name)) or (DEPLOYMENT if "of its pods" in check.expected else "")
        untold = check.outcome is Verdict.DOES_NOT_HOLD and not check.detail
        yield check.model_copy(update={"detail": f"likely cause: {cause}"}) if untold and cause else check


def _asked(name: str) -> str:
    """What a check asks: its name without the component, or, of the cluster, without where that is."""
    head, _, tail = name.partition(": ")
    return head if head in CAUSES else tail or head
