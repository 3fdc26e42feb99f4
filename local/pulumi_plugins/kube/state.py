"""What a Kubernetes resource looks like in Pulumi's state, as the official provider writes it.

The live object, with three keys beside it: `__inputs`, `__initialApiVersion` and
`__fieldManager`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from local.pulumi_plugins.kube.inputs import annotated, dashed, underscored
from local.pulumi_plugins.kube.objects import PATCH_FIELD_MANAGER, Object, annotation, dig, kind_of
from local.pulumi_plugins.values import Value, plain

INPUTS = "__inputs"
INITIAL_API_VERSION = "__initialApiVersion"
FIELD_MANAGER = "__fieldManager"
_OWN = frozenset({INPUTS, INITIAL_API_VERSION, FIELD_MANAGER})
_MISSING = object()


def checkpoint(
    inputs: dict[str, Value], live: Object, *, secret_like: dict[str, Value], manager: str, initial_api_version: str
) -> dict[str, Value]:
    """The resource's outputs: the live object, secret where the inputs are."""
    outputs = annotated(underscored(live), secret_like)
    outputs[INPUTS] = annotated(plain(inputs), secret_like)
    outputs[INITIAL_API_VERSION] = initial_api_version
    outputs[FIELD_MANAGER] = manager
    return outputs


def live_of(state: dict[str, Value]) -> Object:
    """The live object in a checkpoint, plain, in the API's spelling."""
    live: Object = dashed(plain({key: value for key, value in state.items() if key not in _OWN}))
    return live


def inputs_of(state: dict[str, Value]) -> dict[str, Value]:
    """The inputs in a checkpoint."""
    inputs: dict[str, Value] = state.get(INPUTS) or {}
    return inputs


def field_manager(urn: str, inputs: Object, state: dict[str, Value]) -> str:
    """The name under which this resource's fields are applied.

    The same for every try at one resource: where a create was cut off before its result
    reached the state, the next one owns the fields that the first has set.
    """
    named = annotation(inputs, PATCH_FIELD_MANAGER) or state.get(FIELD_MANAGER)
    return str(named or "pulumi-kubernetes-" + hashlib.sha256(urn.encode()).hexdigest()[:8])


def refreshed_inputs(inputs: Object, before: Object, now: Object) -> Object:
    """`inputs` with what changed in the cluster since they were applied.

    A property that is the same `now` as `before` keeps the program's spelling, though the
    API server may write it in another way; a changed one takes the live value; one that is
    gone is left out, so that the next update puts it back.
    """
    if kind_of(now).name == "Secret" and "stringData" in inputs:
        before, now = _with_string_data(before, inputs), _with_string_data(now, inputs)
    result: Object = _refresh(inputs, before, now)
    return result


def _with_string_data(live: Object, inputs: Object) -> Object:
    """A Secret whose stringData shows what the server made data of."""
    texts: dict[str, Any] = {}
    for key in dig(inputs, "stringData", default={}):
        encoded = dig(live, "data", key)
        if isinstance(encoded, str):
            try:
                texts[key] = base64.b64decode(encoded).decode()
            except (binascii.Error, UnicodeDecodeError):
                texts[key] = encoded
    return live | {"stringData": texts}


def _refresh(inputs: Any, before: Any, now: Any) -> Any:
    if isinstance(inputs, dict) and isinstance(now, dict):
        known = before if isinstance(before, dict) else {}
        kept = {}
        for key, value in inputs.items():
            if key in now:
                kept[key] = _refresh(value, known.get(key, _MISSING), now[key])
            elif key not in known:
                kept[key] = value  # the server never showed it: an empty list, say
        return kept
    if before == now:
        return inputs
    if isinstance(inputs, list) and isinstance(now, list):
        return _refresh_list(inputs, before if isinstance(before, list) else [], now)
    return now


def _refresh_list(inputs: list[Any], before: list[Any], now: list[Any]) -> list[Any]:
    """Items are the same by `name`, where they have one, or by place."""
    result = []
    for index, item in enumerate(now):
        given, was = _partner(inputs, item, index), _partner(before, item, index)
        result.append(item if given is _MISSING else _refresh(given, was, item))
    return result


def _partner(items: list[Any], item: Any, index: int) -> Any:
    if isinstance(item, dict) and "name" in item:
        return next(
            (other for other in items if isinstance(other, dict) and other.get("name") == item["name"]), _MISSING
        )
    return items[index] if index < len(items) else _MISSING
