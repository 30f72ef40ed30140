"""A workspace as a service of the operating system: started at boot, restarted after a crash."""

from tidegate.workspace.system_service.manager import (
    Manager,
    ServiceState,
    manager_of_this_system,
)
from tidegate.workspace.system_service.unit import ServiceUnit

__all__ = ["Manager", "ServiceState", "ServiceUnit", "manager_of_this_system"]
