"""The values of the `random` provider's resources: pure, given a source of randomness.

Rules and property names follow pulumi-random (terraform-provider-random): see
https://www.pulumi.com/registry/packages/random/.
"""

from __future__ import annotations

import base64
import random
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.values import Secret, Value

LOWER = "abcdefghijklmnopqrstuvwxyz"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NUMERIC = "0123456789"
SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
"""terraform-provider-random's default set of special characters."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new random resource: its id, and its outputs beside the inputs."""

    identifier: str
    outputs: dict[str, Value]


def make_string(inputs: dict[str, Any]) -> str:
    """A string as RandomString and RandomPassword make it, from the system's randomness.

    Raises ProviderError where no character class is left, or the minimums exceed the length.
    """
    length = _whole_number(inputs, "length", minimum=1)
    special = inputs.get("overrideSpecial") or SPECIAL
    numeric = inputs.get("numeric", inputs.get("number", True))
    classes = (
        (LOWER, inputs.get("lower", True), inputs.get("minLower", 0)),
        (UPPER, inputs.get("upper", True), inputs.get("minUpper", 0)),
        (NUMERIC, numeric, inputs.get("minNumeric", 0)),
        (special, inputs.get("special", True), inputs.get("minSpecial", 0)),
    )
    alphabet = "".join(characters for characters, wanted, _ in classes if wanted)
    if not alphabet:
        raise ProviderError("lower, upper, numeric and special are all false: no characters are left to choose from")
    required = sum(int(minimum) for _, _, minimum in classes)
    if required > length:
        raise ProviderError(f"length is {length}, but the minimums of the character classes add up to {required}")
    chosen = [secrets.choice(characters) for characters, _, minimum in classes for _ in range(int(minimum))]
    chosen += [secrets.choice(alphabet) for _ in range(length - required)]
    secrets.SystemRandom().shuffle(chosen)
    return "".join(chosen)


def _string_outputs(inputs: dict[str, Any], value: str) -> dict[str, Value]:
    numeric = inputs.get("numeric", inputs.get("number", True))
    defaults = {
        "lower": True,
        "upper": True,
        "special": True,
        "minLower": 0,
        "minUpper": 0,
        "minNumeric": 0,
        "minSpecial": 0,
    }
    return {**defaults, **inputs, "numeric": numeric, "number": numeric, "result": value}


def password(inputs: dict[str, Any]) -> Made:
    """RandomPassword. bcryptHash, which the official provider adds, is left out."""
    return _password_of(inputs, make_string(inputs))


def _password_of(inputs: dict[str, Any], value: str) -> Made:
    outputs = _string_outputs(inputs, value)
    return Made("none", {**outputs, "result": Secret(value), "__meta": '{"schema_version":"3"}'})


def string(inputs: dict[str, Any]) -> Made:
    """RandomString: as a password, but not secret."""
    return _string_of(inputs, make_string(inputs))


def _string_of(inputs: dict[str, Any], value: str) -> Made:
    return Made(value, {**_string_outputs(inputs, value), "__meta": '{"schema_version":"2"}'})


def identifier(inputs: dict[str, Any]) -> Made:
    """RandomId: byteLength random bytes as hexadecimal, decimal and Base64, with a prefix."""
    return _identifier_of(inputs, secrets.token_bytes(_whole_number(inputs, "byteLength", minimum=1)))


def _identifier_of(inputs: dict[str, Any], value: bytes) -> Made:
    prefix = inputs.get("prefix", "")
    url = base64.urlsafe_b64encode(value).decode().rstrip("=")
    outputs = {
        **inputs,
        "b64Std": prefix + base64.b64encode(value).decode(),
        "b64Url": prefix + url,
        "dec": prefix + str(int.from_bytes(value)),
        "hex": prefix + value.hex(),
    }
    return Made(url, outputs)


def random_bytes(inputs: dict[str, Any]) -> Made:
    """RandomBytes: secret bytes as hexadecimal and Base64."""
    value = secrets.token_bytes(_whole_number(inputs, "length", minimum=1))
    encoded = {"base64": Secret(base64.b64encode(value).decode()), "hex": Secret(value.hex())}
    return Made("none", {**inputs, **encoded})


def integer(inputs: dict[str, Any]) -> Made:
    """RandomInteger within [min, max]; the same for the same `seed`."""
    low, high = _whole_number(inputs, "min"), _whole_number(inputs, "max")
    if low > high:
        raise ProviderError(f"min is {low}, which is greater than max, {high}")
    seed = inputs.get("seed")
    source: random.Random = random.Random(seed) if seed else secrets.SystemRandom()
    value = source.randint(low, high)
    return Made(str(value), {**inputs, "result": value})


def unique(inputs: dict[str, Any]) -> Made:
    """RandomUuid (version 4)."""
    value = str(uuid.uuid4())
    return Made(value, {**inputs, "result": value})


def _whole_number(inputs: dict[str, Any], name: str, minimum: int | None = None) -> int:
    value = inputs.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProviderError(f"{name} must be a whole number, got {value!r}")
    if minimum is not None and value < minimum:
        raise ProviderError(f"{name} must be at least {minimum}, got {value}")
    return value


MAKERS: dict[str, Callable[[dict[str, Any]], Made]] = {
    "random:index/randomPassword:RandomPassword": password,
    "random:index/randomString:RandomString": string,
    "random:index/randomId:RandomId": identifier,
    "random:index/randomBytes:RandomBytes": random_bytes,
    "random:index/randomInteger:RandomInteger": integer,
    "random:index/randomUuid:RandomUuid": unique,
}


def imported(token: str, value: str) -> tuple[Made, dict[str, Value]]:
    """The resource that `pulumi import TOKEN NAME VALUE` adopts, and its inputs."""
    if token == "random:index/randomPassword:RandomPassword":
        inputs: dict[str, Value] = {"length": len(value)}
        return _password_of(inputs, value), inputs
    if token == "random:index/randomString:RandomString":
        inputs = {"length": len(value)}
        return _string_of(inputs, value), inputs
    if token == "random:index/randomId:RandomId":
        try:
            decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        except ValueError as error:
            raise ProviderError(f"{value!r} is not the URL-safe Base64 of a RandomId") from error
        inputs = {"byteLength": len(decoded)}
        return _identifier_of(inputs, decoded), inputs
    if token == "random:index/randomUuid:RandomUuid":
        return Made(value, {"result": value}), {}
    raise ProviderError(f"{token} cannot be imported by the stand-in provider")
