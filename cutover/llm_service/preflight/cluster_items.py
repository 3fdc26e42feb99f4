"""Items on what surrounds the models: orchestrators, rights, GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.known import Unknown
from adapters.routes.base import GpuNode
from contracts.llm_memory import GpuNeed
from contracts.names import LLM_CUTOVER_NAME
from cutover import surroundings
from cutover.llm_service.preflight.situation import Situation
from cutover.llm_service.work import COMPONENT, OURS, SEE_ORCHESTRATOR
from validation.result import Check

NEEDED = surroundings.needed(COMPONENT)


def adapters(at: Situation) -> Iterator[Check]:
    """Orchestrators are there, none hangs, and all obey the routes of this version. On the way back that is told only:
    who follows the route goes back, and nothing would be won by staying."""
    none = "no orchestrator makes itself known: nobody would follow the switch, or tell how it goes"
    expects = at.route is not None and not at.going_back
    found = (
        surroundings.protocol(at.adapters),
        surroundings.alive(at.adapters, at.present, none=none if expects else "", start=SEE_ORCHESTRATOR),
    )
    for check in found:
        yield told_only(check) if at.going_back and not check.outcome.passed else check


def permissions(at: Situation) -> Iterator[Check]:
    """This run may write the route and read adapters' Leases, and is not somebody who may do anything."""
    yield surroundings.permissions(at.permissions, NEEDED, LLM_CUTOVER_NAME, going_back=at.going_back)


def gpus(at: Situation) -> Iterator[Check]:
    """The cluster's nodes have the GPUs that our own models need, and each of them the memory. What nodes give is
    counted whole: our models' pods, which run by now, have their part of it already."""
    if not at.ours:
        return
    name = f"{OURS}: GPUs"
    if not at.gpus:
        yield Check.that(name, True, expected="none: our own models run on CPUs", found="the image is llama.cpp's")
        return
    expected = "; ".join(f"{need.app}: {need_told(need)}" for need in at.gpus)
    if isinstance(at.nodes, Unknown):
        fix = "See that the ClusterRole of the cutover may list nodes (pulumi up makes it)"
        yield Check.unknown(name, expected=expected, why=at.nodes.why, fix=fix)
        return
    there = ", ".join(f"{node.name}: {_node_told(node)}" for node in at.nodes) or "no node has any"
    left = unplaced(at.gpus, at.nodes)
    if left and not unplaced(at.gpus, at.nodes, hoping=True):
        blind = "Run NVIDIA's GPU feature discovery, which labels nodes with nvidia.com/gpu.memory; and give a model's "
        fix = f"{blind}shape, from its config.json (crossover:llm_service.own.models)"
        why = f"{there}; whether there is room for {', '.join(left)} is not known"
        yield Check.unknown(name, expected=expected, why=why, fix=fix)
        return
    fix = "Add nodes with such GPUs, or choose a smaller model, weights, context or fewer replicas"
    found = f"{there}; no room for {', '.join(left)}" if left else there
    yield Check.that(name, not left, expected=expected, found=found, fix=fix)


def need_told(need: GpuNeed) -> str:
    """A need with its sum, for people."""
    by = "an unknown amount" if need.memory is None else f"{need.memory.text}, of {need.utilization:.0%} of its memory"
    return f"{need.pods} x {need.gpus} nvidia.com/gpu, each for {by}"


def unplaced(needs: Sequence[GpuNeed], nodes: Sequence[GpuNode], *, hoping: bool = False) -> list[str]:
    """The apps of pods for which no node has room: the largest are placed first, each on the node that fits it most
    tightly. What is not known fits where `hoping`, else not."""
    left = {node.name: node.gpus for node in nodes}
    missing = []
    pods = [need for need in needs for _ in range(need.pods)]
    for need in sorted(pods, key=lambda need: (need.memory.total if need.memory else 0.0, need.gpus), reverse=True):
        fitting = [node for node in nodes if left[node.name] >= need.gpus and _holds(node, need, hoping)]
        if not fitting:
            missing.append(need.app)
            continue
        best = min(fitting, key=lambda node: (node.gib or float("inf"), left[node.name]))
        left[best.name] -= need.gpus
    return missing


def _holds(node: GpuNode, need: GpuNeed, hoping: bool) -> bool:
    fits = None if node.gib is None else need.fits(node.gib)
    return hoping if fits is None else fits


def _node_told(node: GpuNode) -> str:
    return f"{node.gpus} of {'unknown size' if node.gib is None else f'{node.gib:.1f} GiB'}"


def told_only(check: Check) -> Check:
    """`check`, told and not refused."""
    found = f"{check.found} ({check.detail})" if check.detail else check.found
    return Check.that(f"{check.name} (told only)", True, expected=check.expected, found=found)
