"""What the models of pipelines_config.yml are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema


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
