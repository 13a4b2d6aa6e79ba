"""JSON Schema as Pydantic writes it, made to say what this service really takes, in forms that every client generator
reads.
"""

from typing import Any


def simplify(schema: Any) -> Any:
    """A copy in which

    - a tuple of equal parts is an array of fixed length (`prefixItems` is unknown to many generators);
    - a union of named kinds is `anyOf`: each kind's name has a default, so `{}` fits several, which `oneOf` would
      forbid.
    """
    if isinstance(schema, list):
        return [simplify(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    simple = {key: simplify(part) for key, part in schema.items()}
    if "discriminator" in simple and "oneOf" in simple:
        simple["anyOf"] = simple.pop("oneOf")
        del simple["discriminator"]  # it would make the name required again
    parts = simple.get("prefixItems")
    if (
        isinstance(parts, list)
        and "items" not in simple
        and all(part == parts[0] for part in parts)
    ):
        simple["items"] = simple.pop("prefixItems")[0]
    return simple
