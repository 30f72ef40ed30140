"""What the models of pipelines_config.yml are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tidegate.config import values


class Keys(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def json_schema(schema: dict[str, Any], json_type: str = "string") -> WithJsonSchema:
    """The JSON Schema of a value."""
    return WithJsonSchema({"type": json_type, **schema})


def key(description: str, *examples: Any, default: Any = None) -> Any:
    """An optional key; ``default`` is the effective value if none is given."""
    extra = {} if default is None else {"default": default}
    return Field(
        None, description=description, examples=list(examples), json_schema_extra=extra or None
    )


Duration = Annotated[
    int,
    BeforeValidator(values.duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 31_622_400},
                {"type": "string", "pattern": r"^\d{1,9}\s*(s|min|h|d)?$"},
            ]
        }
    ),
]
"""Seconds, or a number with a unit."""
