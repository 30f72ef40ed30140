"""Parses a template as CloudFormation returns it: a mapping, JSON, or YAML; pure.

Tidegate sends JSON. The CDK CLI sends YAML, so the older recipe's stacks have YAML templates, and
so do Tidegate's own if they were deployed with the CLI. Hand-written YAML has short forms
(``!Ref``).

Source: AWS CloudFormation user guide, *Intrinsic function reference* and *Template formats*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml


def parse_template(body: Mapping[str, Any] | str) -> dict[str, Any]:
    """The template as plain data.

    Raises:
        ValueError: it is neither JSON nor YAML, or not a mapping.
    """
    if isinstance(body, Mapping):
        return dict(json.loads(json.dumps(body)))
    try:
        found = json.loads(body)
    except ValueError:
        try:
            found = yaml.load(body, _Loader)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError("it is not a mapping")
    return found


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: dates are text, and functions have short forms."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML declares it so


# Everything else that YAML 1.1 reads as a number or a date is text: 2012-10-17, 012345, 1:30.
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("int", r"-?(0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?", [*"-0123456789"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    """``!Sub text`` as ``{"Fn::Sub": "text"}``."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)
