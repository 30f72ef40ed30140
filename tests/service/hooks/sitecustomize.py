"""Read by every Python that the tests of the service start: faster imports, and death on demand.

``act`` is half of what Tsdat imports and serves a single accessor, which the tiny pipelines do
not use. TIDEGATE_TEST_DIE names a function and how many calls of it a process survives, as in
``tidegate.targets.local.outputs:FolderOutputs._move:3``: the fourth kills it, as a power cut would.
"""

import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import types

sys.modules["act"] = types.ModuleType("act")


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for one module to be imported, and puts a trap into it."""

    def __init__(self, module: str, place: str, calls: int) -> None:
        self.module, self.place, self.calls = module, place, calls

    def find_spec(self, name, path, target=None):
        """Find the module as others would, and change it once it is loaded."""
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            self.trap(module)

        spec.loader.exec_module = exec_module
        return spec

    def trap(self, module: types.ModuleType) -> None:
        """Count the calls of a function, and die at the one that is one too many."""
        *owners, name = self.place.split(".")
        owner = module
        for part in owners:
            owner = getattr(owner, part)
        original, left = getattr(owner, name), [self.calls]

        def trapped(*args, **kwargs):
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return original(*args, **kwargs)

        setattr(owner, name, trapped)


if trap := os.environ.get("TIDEGATE_TEST_DIE"):
    module, place, calls = trap.split(":")
    sys.meta_path.insert(0, _Finder(module, place, int(calls)))
