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
from local.pulumi_plugins.pet_words import ADJECTIVES, ADVERBS, PETS
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
    # A seed asks for the same number each time: such a resource is not for secrets, officially neither.
    source: random.Random = random.Random(seed) if seed else secrets.SystemRandom()  # noqa: S311
    value = source.randint(low, high)
    return Made(str(value), {**inputs, "result": value})


def unique(inputs: dict[str, Any]) -> Made:
    """RandomUuid (version 4)."""
    value = str(uuid.uuid4())
    return Made(value, {**inputs, "result": value})


def pet(inputs: dict[str, Any]) -> Made:
    """RandomPet: `length` words with `separator` between them, after `prefix` where there is one."""
    length = _whole_number({"length": inputs.get("length", 2)}, "length", minimum=1)
    separator = inputs.get("separator", "-")
    words = [secrets.choice(PETS)]
    if length > 1:
        words.insert(0, secrets.choice(ADJECTIVES))
    words[:0] = [secrets.choice(ADVERBS) for _ in range(length - len(words))]
    value = separator.join([inputs["prefix"], *words] if inputs.get("prefix") else words)
    return Made(value, {**inputs, "length": length, "separator": separator})


def shuffled(inputs: dict[str, Any]) -> Made:
    """RandomShuffle: the inputs in another order; the same for the same `seed`.

    Where `resultCount` exceeds their number, further rounds of them follow.
    """
    items = list(inputs.get("inputs") or [])
    count = _whole_number({"resultCount": inputs.get("resultCount", len(items))}, "resultCount", minimum=0)
    seed = inputs.get("seed")
    source: random.Random = random.Random(seed) if seed else secrets.SystemRandom()  # noqa: S311 - as in `integer`
    results: list[str] = []
    while items and len(results) < count:
        results += source.sample(items, len(items))
    return Made("-", {**inputs, "results": results[:count]})


def _whole_number(inputs: dict[str, Any], name: str, minimum: int | None = None) -> int:
    value = inputs.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProviderError(f"{name} must be a whole number, got {value!r}")
    if minimum is not None and value < minimum:
        raise ProviderError(f"{name} must be at least {minimum}, got {value}")
    return value


PASSWORD = "random:index/randomPassword:RandomPassword"  # noqa: S105 - a type token
STRING = "random:index/randomString:RandomString"
ID = "random:index/randomId:RandomId"
UUID = "random:index/randomUuid:RandomUuid"

MAKERS: dict[str, Callable[[dict[str, Any]], Made]] = {
    PASSWORD: password,
    STRING: string,
    ID: identifier,
    UUID: unique,
    "random:index/randomBytes:RandomBytes": random_bytes,
    "random:index/randomInteger:RandomInteger": integer,
    "random:index/randomPet:RandomPet": pet,
    "random:index/randomShuffle:RandomShuffle": shuffled,
}


def imported(token: str, value: str) -> tuple[Made, dict[str, Value]]:
    """The resource that `pulumi import TOKEN NAME VALUE` adopts, and its inputs."""
    if token == PASSWORD:
        inputs: dict[str, Value] = {"length": len(value)}
        return _password_of(inputs, value), inputs
    if token == STRING:
        inputs = {"length": len(value)}
        return _string_of(inputs, value), inputs
    if token == ID:
        try:
            decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        except ValueError as error:
            raise ProviderError(f"{value!r} is not the URL-safe Base64 of a RandomId") from error
        inputs = {"byteLength": len(decoded)}
        return _identifier_of(inputs, decoded), inputs
    if token == UUID:
        return Made(value, {"result": value}), {}
    raise ProviderError(f"{token} cannot be imported by the stand-in provider")
