"""Run MiniStack with some rules of AWS that it lacks: ``python ministack_like_aws.py``.

* CloudFormation's id of a rule that is not on the default event bus is ``bus|rule``.
* An event bus takes 300 rules, and a rule's pattern 2,048 characters.

Source of the limits: EventBridge User Guide, "Amazon EventBridge quotas".
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

RULES, PATTERN = 300, 2048
_PROVISIONERS = "ministack.services.cloudformation.provisioners"


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


class _WhenImported(MetaPathFinder):
    """Changes the module when MiniStack first needs it; many tests never do."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != _PROVISIONERS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: Any) -> None:
            load(module)
            _change_rules(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _WhenImported())
    from ministack.app import main

    main()
