"""The JSON Schema of pipelines_config.yml, for editors: ``python -m tidegate.config.schema``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tidegate.config.models import PipelinesConfig

COMMITTED = Path(__file__).parents[3] / "docs" / "pipelines_config.schema.json"


class _Generator(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A key must have a value; None is not allowed."""
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A mapping allows only keys that match its pattern."""
        made = super().dict_schema(schema)
        return made | {"additionalProperties": False} if "patternProperties" in made else made

    def get_title_from_name(self, name: str) -> str:
        return name

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out the default None; the models write the effective default themselves."""
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """The schema as plain data, JSON Schema draft 2020-12."""
    made = PipelinesConfig.model_json_schema(schema_generator=_Generator)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pipelines_config.yml",
        **{key: _untitled(value) for key, value in made.items() if key != "title"},
    }


def _untitled(value: Any) -> Any:
    """Remove the titles that pydantic adds."""
    if isinstance(value, dict):
        return {
            key: _untitled(item)
            for key, item in value.items()
            if not (key == "title" and isinstance(item, str))
        }
    return [_untitled(item) for item in value] if isinstance(value, list) else value


def text() -> str:
    """The content of the schema file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED
    target.write_text(text(), encoding="utf-8")
    print(f"wrote {target}")
