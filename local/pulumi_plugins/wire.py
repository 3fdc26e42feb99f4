"""Pulumi's property encoding (google.protobuf.Struct) to values and back.

The signatures are those of sdk/go/common/resource/sig and of resource/plugin/rpc.go.
"""

from __future__ import annotations

from google.protobuf import struct_pb2

from local.pulumi_plugins.values import UNKNOWN, Secret, Value

SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark of the protocol
OUTPUT_SIGNATURE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWNS = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


def decode(properties: struct_pb2.Struct) -> dict[str, Value]:
    """The values of `properties`. Nulls in maps are dropped, as the official providers do."""
    return {key: _decode(item) for key, item in properties.fields.items() if item.WhichOneof("kind") != "null_value"}


def _decode(item: struct_pb2.Value) -> Value:
    kind = item.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if item.string_value in UNKNOWNS else item.string_value
    if kind == "number_value":
        number = item.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return item.bool_value
    if kind == "list_value":
        return [_decode(element) for element in item.list_value.values]
    if kind == "struct_value":
        return _decode_object(item.struct_value)
    return None


def _decode_object(properties: struct_pb2.Struct) -> Value:
    signature = properties.fields.get(SIGNATURE_KEY)
    if signature is None:
        return decode(properties)
    if signature.string_value == SECRET_SIGNATURE:
        return Secret(_decode(properties.fields["value"]))
    if signature.string_value == OUTPUT_SIGNATURE:
        value = _decode(properties.fields["value"]) if "value" in properties.fields else UNKNOWN
        secret = properties.fields["secret"].bool_value if "secret" in properties.fields else False
        return Secret(value) if secret else value
    raise ValueError(
        f"a property holds a value of signature {signature.string_value}, such as an asset or a resource "
        "reference, which this provider's resources do not take"
    )


def encode(values: dict[str, Value]) -> struct_pb2.Struct:
    """`values` for the engine, with secrets and unknowns marked."""
    properties = struct_pb2.Struct()
    for key, value in values.items():
        _encode(value, properties.fields[key])
    return properties


def _encode(value: Value, into: struct_pb2.Value) -> None:
    if value is UNKNOWN:
        into.string_value = UNKNOWN_STRING
    elif isinstance(value, Secret):
        into.struct_value.fields[SIGNATURE_KEY].string_value = SECRET_SIGNATURE
        _encode(value.value, into.struct_value.fields["value"])
    elif value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, dict):
        into.struct_value.SetInParent()
        for key, item in value.items():
            _encode(item, into.struct_value.fields[key])
    elif isinstance(value, list):
        into.list_value.SetInParent()
        for item in value:
            _encode(item, into.list_value.values.add())
    else:
        raise TypeError(f"cannot send a {type(value).__name__} to the engine")
