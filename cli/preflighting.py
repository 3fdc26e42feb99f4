"""The items of `crossover preflight` beyond doctor's and a component's own: room in the cluster, a way back that was
rehearsed, who watches, Secrets, and what people were asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from adapters.known import Fact, Unknown
from adapters.routes.resources import Node, PodFacts
from cli.watching import Read
from components.sizes import Resources, resources
from contracts import names
from contracts.audit import Entry, Kind
from contracts.confirmations import Confirmed
from contracts.stages import STAGE_TABLE, Component, Side, Stage
from cutover.run import HOLDS
from validation.result import Check, Verdict

if TYPE_CHECKING:
    from components.settings import Settings

PEOPLE = "people: "
"""What the name of an item begins with that a person answers."""
RESUMED = frozenset({"route", "transition", "fence"})
"""Items of a component, by doctor, that are as an update left them that was cut off: the next one goes on."""
_MIB = 1 << 20
_SHOWN = 5
_RETURNED = (HOLDS, "switched back")
"""Outcomes of a transition after which traffic is where it was to go."""


@dataclass(frozen=True, slots=True)
class Coming:
    """Pods that the next stage adds: so many of `app`, each with `size`."""

    app: str
    size: Resources
    count: int = 1


def coming(settings: Settings, component: Component, stage: Stage | None) -> list[Coming]:
    """What is deployed beyond what runs at `stage` (None: not yet known to run), where `component` moves on: all of it
    with the step to shadow. Our own models on GPUs are left to that component's own preflight, which counts GPUs."""
    if stage is not None and Side.NEW in STAGE_TABLE[stage].deployed:
        return []

    def row(app: str, count: int = 1) -> Coming:
        return Coming(app, resources(settings.size, app), count)

    match component:
        case Component.EVENT_BUS:
            return [row(names.KAFKA_NAME, settings.event_bus.kafka.brokers), row(names.MIRROR_NAME)]
        case Component.DATABASE:
            return [row(names.SELFHOSTED_POSTGRES_NAME), row(names.CARRIER_NAME)]
        case Component.LLM_SERVICE:
            own = settings.llm_service.own
            if own.engine_at(settings.size) == "vllm":
                return []
            pods = sum(model.replicas.min for model in own.models_at(settings.size).values())
            return [row(names.OWN_LLM_NAME, pods)]
        case Component.BACKTESTING:
            return []


def room(
    wanted: Sequence[Coming], nodes: Fact[Sequence[Node]], pods: Fact[Sequence[PodFacts]], scales: Fact[bool]
) -> Check:
    """The nodes can take what the next stages add, by what pods ask for; the largest are placed first."""
    name, expected = "cluster: room", "the nodes take what the next stage deploys"
    fix = "a larger or a further node, or crossover:size"
    if not wanted:
        return Check.that(name, True, expected=expected, found="it deploys nothing more")
    for fact in (nodes, pods):
        if isinstance(fact, Unknown):
            return Check.unknown(
                name, expected=expected, why=fact.why, fix="Needs the right to list nodes and all pods"
            )
    if isinstance(nodes, Unknown) or isinstance(pods, Unknown):
        raise AssertionError("unreachable: told above")
    left = _free(nodes, pods)
    unplaced = _placed([one for one in wanted for _ in range(one.count)], left)
    asked = sum(one.size.cpu * one.count for one in wanted), sum(one.size.memory * one.count for one in wanted)
    free = sum(cpu for cpu, _ in left.values()), sum(memory for _, memory in left.values())
    found = f"{asked[0]:g} cores and {asked[1]} MiB are asked for; {len(left)} nodes take pods"
    if unplaced:
        found = f"no place for {', '.join(unplaced[:_SHOWN])}: {found}, {free[0]:.1f} cores and {free[1]:.0f} MiB left"
    if unplaced and scales is not False:
        why = f"{found}. Nodes may be made as they are needed" if scales is True else found
        return Check.unknown(name, expected=expected, why=why, fix=fix)
    return Check.that(name, not unplaced, expected=expected, found=found, fix=fix)


def _free(nodes: Sequence[Node], pods: Sequence[PodFacts]) -> dict[str, tuple[float, float]]:
    """Cores and MiB that nobody asked for, by node that takes pods."""
    left = {one.name: (one.cpu, one.memory / _MIB) for one in nodes if one.ready and one.takes_pods}
    for pod in pods:
        if pod.node in left and not pod.over:
            cpu, memory = left[pod.node]
            left[pod.node] = cpu - pod.cpu, memory - pod.memory / _MIB
    return left


def _placed(wanted: Sequence[Coming], left: dict[str, tuple[float, float]]) -> list[str]:
    """Take the room of each out of `left`, the largest first; those without a place."""
    without = []
    for one in sorted(wanted, key=lambda each: (each.size.memory, each.size.cpu), reverse=True):
        fits = [node for node, (cpu, memory) in left.items() if cpu >= one.size.cpu and memory >= one.size.memory]
        if not fits:
            without.append(one.app)
            continue
        node = max(fits, key=lambda each: left[each][1])
        left[node] = left[node][0] - one.size.cpu, left[node][1] - one.size.memory
    return without


def storage_class(wanted: str, classes: Fact[Mapping[str, bool]]) -> Check:
    """The class that config names is there, or else a default one."""
    name = "cluster: storage class"
    expected = f"{wanted} is there" if wanted else "one is the default"
    fix = "pulumi config set crossover:storage_class NAME (kubectl get storageclass)"
    if isinstance(classes, Unknown):
        return Check.unknown(name, expected=expected, why=classes.why, fix=fix)
    fine = wanted in classes if wanted else any(classes.values())
    found = ", ".join(f"{one} (default)" if default else one for one, default in sorted(classes.items())) or "none"
    return Check.that(name, fine, expected=expected, found=found, fix=fix)


def secrets_present(pods: Fact[Sequence[PodFacts]], present: Fact[frozenset[str]]) -> Check:
    """Every Secret that a pod names is there. Only names are asked for."""
    name, expected = "secrets: in the cluster", "each that a pod names is there"
    for fact in (pods, present):
        if isinstance(fact, Unknown):
            fix = "Needs the right to list pods and Secrets in the backend's namespace"
            return Check.unknown(name, expected=expected, why=fact.why, fix=fix)
    if isinstance(pods, Unknown) or isinstance(present, Unknown):
        raise AssertionError("unreachable: told above")
    wanted = {secret for pod in pods if not pod.over for secret in pod.secrets}
    missing = sorted(wanted - present)
    return Check.none_wrong(
        name, wrong=len(missing), of=len(wanted), what="missing", fix="pulumi up makes them",
        detail=", ".join(missing),
    )  # fmt: skip


def secrets_encrypted(in_the_clear: Sequence[str]) -> Check:
    """No secret of config stands in its file as it is."""
    found = ", ".join(in_the_clear) or "none is in the clear"
    return Check.that(
        "secrets: in config", not in_the_clear, expected="encrypted", found=found,
        fix="pulumi config set --path KEY --secret; then change it, where the file was shared",
    )  # fmt: skip


def exposed(told: Fact[Read]) -> Check:
    """Every pod that counts something tells it."""
    name, expected = "monitoring: metrics", "each pod that has some serves them"
    fix = "crossover doctor; kubectl logs POD"
    if isinstance(told, Unknown):
        return Check.unknown(name, expected=expected, why=told.why, fix=fix)
    silent = {pod: why for pod, why in told.missed.items() if pod not in told.unasked} or told.missed
    detail = "; ".join(f"{pod}: {why}" for pod, why in list(silent.items())[:_SHOWN])
    if told.missed and set(told.missed) <= told.unasked:
        fix = "Needs the right to pods/proxy, and a way from the API server to pods; else ask your Prometheus"
        return Check.unknown(name, expected=expected, why=detail, fix=fix)
    wrong, of = len(told.missed.keys() - told.unasked), len(told.found) + len(told.missed)
    return Check.none_wrong(name, wrong=wrong, of=of, what="pods without metrics", detail=detail, fix=fix)


def watched(ours: Fact[frozenset[str]], theirs: Fact[frozenset[str]]) -> Check:
    """The alert rules of this project are loaded, as far as the Prometheus operator tells."""
    name, expected = "monitoring: alerts", "the rules of observability/alerts.yaml are loaded"
    fix = "docs/observability.md has the command that makes a PrometheusRule of them"
    if isinstance(ours, Unknown):
        return Check.unknown(name, expected=expected, why=ours.why, fix=fix)
    if isinstance(theirs, Unknown):
        why = f"whether a Prometheus has them cannot be seen from here: {theirs.why}"
        return Check.unknown(name, expected=expected, why=why, fix=f"{fix}; else see that yours has them")
    missing = sorted(ours - theirs)
    return Check.none_wrong(
        name, wrong=len(missing), of=len(ours), what="alerts missing", fix=fix, detail=", ".join(missing[:_SHOWN])
    )


def rehearsed(component: Component, entries: Fact[Sequence[Entry]]) -> Check:
    """A way back of this component was gone on this cluster, by whichever stack, and ended well."""
    name, expected = f"{component.value}: way back rehearsed", "a transition back on this cluster that ended well"
    moved = f"crossover migrate {component.value} && crossover rollback {component.value}"
    fix = f"{moved}, on a stack of its own in this cluster (docs/preflight.md, To rehearse a way back)"
    if isinstance(entries, Unknown):
        return Check.unknown(name, expected=expected, why=entries.why, fix="crossover audit verify")
    backs = [one for one in entries if one.component == component.value and one.kind == Kind.ENDED and _goes_back(one)]
    well = [one for one in backs if one.data.get("outcome") in _RETURNED]
    if not well:
        tried = f"; {len(backs)} did not end well, the last: {backs[-1].data.get('outcome')}" if backs else ""
        return Check.that(name, False, expected=expected, found=f"the audit log has none{tried}", fix=fix)
    last = max(well, key=lambda one: one.happened)
    data = last.data
    where = f" in {data['namespace']}" if data.get("namespace") else ""
    seconds = f", in {data['seconds']:g} s" if isinstance(data.get("seconds"), int | float) else ""
    found = f"{data['from']} -> {data['to']} at {last.happened[:16].replace('T', ' ')} UTC{seconds}{where}"
    return Check.that(name, True, expected=expected, found=f"{found}; {len(well)} in all", fix=fix)


def _goes_back(entry: Entry) -> bool:
    """Whether traffic went from the new side to the old one."""
    origin, goal = entry.data.get("from"), entry.data.get("to")
    if origin not in list(Stage) or goal not in list(Stage):
        return False
    return STAGE_TABLE[Stage(origin)].serves is Side.NEW and STAGE_TABLE[Stage(goal)].serves is Side.OLD


def answered(
    questions: Mapping[str, str], said: Fact[Mapping[str, Confirmed]], now: datetime
) -> Iterator[Check]:  # fmt: skip
    """Each question to a person: whether somebody said yes, and it still stands."""
    for item, question in questions.items():
        name, fix = f"{PEOPLE}{item}", f"crossover preflight --confirm {item}"
        if isinstance(said, Unknown):
            yield Check.unknown(name, expected=question, why=said.why, fix="crossover audit verify")
            continue
        yes = said.get(item)
        found = "nobody has said yes" if yes is None else yes.told()
        if yes is not None and yes.until <= now:
            found = f"it has expired: {found}"
        yield Check.that(name, yes is not None and now < yes.until, expected=question, found=found, fix=fix)


def excused(checks: Iterable[Check], accepted: Sequence[str]) -> Iterator[Check]:
    """The same, with those told only that config accepts. What people are asked cannot be."""
    for check in checks:
        let_pass = check.name in accepted and not check.name.startswith(PEOPLE) and not check.outcome.passed
        found = f"expected {check.expected}, found {check.found}" + (f" ({check.detail})" if check.detail else "")
        yield Check.that(
            f"{check.name} (told only)", True, expected="config accepts it", found=found
        ) if let_pass else check  # fmt: skip


def holding_up(checks: Iterable[Check]) -> list[Check]:
    """What keeps a migration from being begun where config requires preflight: no valid yes of a person, or an item of
    machine that does not hold. What could not be checked by machine, and what an update resumes, does not."""
    return [check for check in checks if not check.outcome.passed and (_of_people(check) or _of_machine(check))]


def _of_people(check: Check) -> bool:
    return check.name.startswith(PEOPLE)


def _of_machine(check: Check) -> bool:
    head, _, item = check.name.partition(": ")
    resumed = item in RESUMED and head in list(Component)
    return check.outcome is Verdict.DOES_NOT_HOLD and not resumed
