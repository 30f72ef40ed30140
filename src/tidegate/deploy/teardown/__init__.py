"""The end of a branch on AWS: everything is deleted but data, after a plan that can be read."""

from tidegate.deploy.teardown.execution import Callbacks, execute_teardown
from tidegate.deploy.teardown.inventory import Inventory, take_inventory
from tidegate.deploy.teardown.planning import KeptItem, Step, Teardown, plan_teardown

__all__ = [
    "Callbacks",
    "Inventory",
    "KeptItem",
    "Step",
    "Teardown",
    "execute_teardown",
    "plan_teardown",
    "take_inventory",
]
