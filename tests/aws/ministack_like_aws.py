"""Run MiniStack with some rules of AWS that it lacks: ``python ministack_like_aws.py``.

* CloudFormation's id of a rule that is not on the default event bus is ``bus|rule``.
* An event bus takes 300 rules, and a rule's pattern 2,048 characters.
* CloudFormation reads a template from an address that begins with the bucket's name, as the CDK's
  command gives it for templates of more than 51,200 bytes.

Source of the limits: EventBridge User Guide, "Amazon EventBridge quotas".
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any
from urllib.parse import urlsplit

RULES, PATTERN = 300, 2048
_CLOUDFORMATION = "ministack.services.cloudformation"


def _change_rules(provisioners: Any) -> None:
    """Wrap what creates, updates and deletes rules."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Events::Rule"]
    create, update, delete = (handlers[what] for what in ("create", "update", "delete"))

    def with_bus(made: Any, properties: Any) -> Any:
        name, *more = made
        bus = provisioners._eb_rule_bus_name(properties)
        return (name if bus == "default" else f"{bus}|{name}", *more)

    def check(properties: Any, new: int) -> None:
        bus = provisioners._eb_rule_bus_name(properties)
        rules = provisioners._eb._rules.values()
        if sum(rule["EventBusName"] == bus for rule in rules) + new > RULES:
            raise ValueError(f"the event bus {bus} has {RULES} rules")
        if len(json.dumps(properties.get("EventPattern", ""))) > PATTERN:
            raise ValueError(f"the pattern has more than {PATTERN} characters")

    def like_create(logical: str, properties: Any, stack: str) -> Any:
        check(properties, 1)
        return with_bus(create(logical, properties, stack), properties)

    def like_update(physical: str, old: Any, new: Any, stack: str, logical: Any = None) -> Any:
        check(new, 0)
        return with_bus(update(physical.rpartition("|")[2], old, new, stack, logical), new)

    handlers["create"], handlers["update"] = like_create, like_update
    handlers["delete"] = lambda physical, old: delete(physical.rpartition("|")[2], old)


def _change_addresses(helpers: Any) -> None:
    """Wrap what reads a template: ``https://BUCKET.s3….amazonaws.com/KEY`` is understood."""
    resolve = helpers._resolve_document

    def like_aws(params: Any, body: str, url: str, label: str) -> Any:
        found = urlsplit(helpers._p(params, url) or "")
        bucket, dot, place = (found.hostname or "").partition(".s3.")
        if dot and place.endswith("amazonaws.com"):
            params = {**params, url: f"https://{place}/{bucket}{found.path}"}
        return resolve(params, body, url, label)

    helpers._resolve_document = like_aws


class _WhenImported(MetaPathFinder):
    """Changes modules when MiniStack first needs them; many tests never do."""

    def __init__(self) -> None:
        self._changes: dict[str, Callable[[Any], None]] = {
            f"{_CLOUDFORMATION}.provisioners": _change_rules,
            f"{_CLOUDFORMATION}.helpers": _change_addresses,
        }

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        change = self._changes.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: Any) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _WhenImported())
    from ministack.app import main

    main()
