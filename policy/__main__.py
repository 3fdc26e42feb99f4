"""Binds the rules to pulumi-policy: the one module that imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from policy import moves, rules

FOUNDATION = "crossover:foundation:Foundation"


class _Stack:
    """What the Foundation states of the stack. It is registered before anything that depends on it; what comes before
    is judged by the stricter rules."""

    facts = rules.Facts(production=True)

    def look(self, args: ResourceValidationArgs) -> None:
        if args.resource_type == FOUNDATION:
            stated = plain(args.props)
            self.facts = rules.Facts(
                production=stated.get("environment") == "production", kept=frozenset(stated.get("kept") or ())
            )


def plain(value: Any) -> Any:
    """Plain data of what pulumi-policy hands out, with UNKNOWN for what is not known before an update."""
    if isinstance(value, Mapping):
        return {key: _known(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_known(value, at) for at in range(len(value))]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known(of: Any, key: Any) -> Any:
    try:
        return plain(of[key])
    except UnknownValueError:
        return rules.UNKNOWN


def _of_resource(rule: rules.Rule, stack: _Stack) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        stack.look(args)
        asked = rules.Resource(
            type=args.resource_type,
            name=args.name,
            props=plain(args.props),
            protect=args.opts.protect,
            delete_before_replace=args.opts.delete_before_replace,
        )
        for violation in rule.check(asked, stack.facts):
            report(f"{asked.kind} {asked.name}: {violation}")

    return ResourceValidationPolicy(name=rule.name, description=rule.description, validate=validate)


def _of_move(
    name: str, description: str, check: Callable[[moves.Move, datetime], Iterator[str]]
) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type == moves.TRANSITION:
            for violation in check(moves.read(plain(args.props)), datetime.now(UTC)):
                report(violation)

    return ResourceValidationPolicy(name=name, description=description, validate=validate)


def main() -> None:
    """Serve the pack to the engine until it ends."""
    stack = _Stack()
    PolicyPack(
        name="crossover",
        enforcement_level=EnforcementLevel.MANDATORY,
        policies=[
            *(_of_resource(rule, stack) for rule in rules.RULES),
            *(_of_move(name, description, check) for name, (description, check) in moves.RULES.items()),
        ],
    )


if __name__ == "__main__":
    main()
