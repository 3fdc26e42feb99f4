"""The child process of rendering.py: runs the Pulumi program against the SDK's mocks, and records."""

from __future__ import annotations

import asyncio
import json
import pickle
import runpy
import sys
from collections.abc import Iterator
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.config import set_all_config

from tests.components.rendering import PROGRAM, Program, Registered, password

_SENTINEL, _SECRET = rpc._special_sig_key, rpc._special_secret_sig


def _opened(value: Any, secrets: set[str]) -> tuple[Any, Any]:
    """`value` with secrets in the clear, and with secrets left out."""
    if isinstance(value, dict):
        if value.get(_SENTINEL) == _SECRET:
            inner, _ = _opened(value["value"], secrets)
            secrets.update(_texts(inner))
            return inner, "[secret]"
        pairs = {key: _opened(each, secrets) for key, each in value.items()}
        return {k: p[0] for k, p in pairs.items()}, {k: p[1] for k, p in pairs.items()}
    if isinstance(value, list):
        both = [_opened(each, secrets) for each in value]
        return [p[0] for p in both], [p[1] for p in both]
    if isinstance(value, float) and value.is_integer():
        return int(value), int(value)
    return value, value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


class _Recorder(mocks.Mocks):
    """Answers as the providers would: a resource's outputs are its inputs, and each password its own."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ.endswith(":RandomPassword"):
            outputs["result"] = password(args.name)
        return f"{args.name}-id", outputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        return {}, None


_Base: Any = mocks.MockMonitor  # it has no types


class _Monitor(_Base):  # type: ignore[misc]  # the base is Any, see above
    def __init__(self, program: Program) -> None:
        super().__init__(_Recorder())
        self._program = program

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            secrets: set[str] = set()
            manifest, open_part = _opened(rpc.deserialize_properties(request.object), secrets)
            depends = (urn.split("::") for urn in request.dependencies)
            self._program.resources.append(
                Registered(
                    type=request.type,
                    name=request.name,
                    manifest=manifest,
                    secrets=frozenset(secrets),
                    open_text=json.dumps(open_part),
                    depends_on=frozenset(f"{parts[-2].rsplit('$', 1)[-1]}::{parts[-1]}" for parts in depends),
                    protect=request.protect,
                    ignored=tuple(request.ignoreChanges),
                    secret_outputs=frozenset(request.additionalSecretOutputs),
                    version=request.version,
                    retained=request.retainOnDelete,
                    provider=request.provider,
                )
            )
        return super().RegisterResource(request)


def _run(config: dict[str, Any], stack: str) -> Program:
    program = Program()
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(_Recorder(), project="crossover", stack=stack, preview=False, monitor=_Monitor(program))
    stored = {"kube_context": "test", **config}
    set_all_config(
        {f"crossover:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in stored.items()}, secret_keys=[]
    )
    sdk: Any = pulumi
    sdk.export = program.outputs.__setitem__  # under mocks there is no stack that would take it
    sdk.runtime.test(lambda: runpy.run_path(str(PROGRAM), run_name="__main__") and None)()
    return program


if __name__ == "__main__":
    asked, for_stack = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from our own parent
    sys.stdout.buffer.write(pickle.dumps([_run(each, for_stack) for each in asked]))
