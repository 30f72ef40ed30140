"""Which Python an environment image has: the base image's own, or another beside it.

The function's own process always runs with the base image's Python. The pipelines' environment has
the version that the repository asks for; Lambda has no base images for the older ones, so these
are installed into the environment.
"""

from __future__ import annotations

import os
import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tidegate.workspace.recipe import Recipe

ON_LAMBDA = ("3.12", "3.13", "3.14", "3.11", "3.10")
"""The Python versions of Lambda's base images, in order of preference."""
BESIDE = ("3.9", "3.8")
"""Those that are installed beside the base image's own, newest first."""
ASSUMED = (ON_LAMBDA[0], "the newest version on Lambda that is tested with Tidegate")
"""The version of a repository that asks for none, and where it comes from, for messages."""


def fitting_versions(recipe: Recipe) -> tuple[str, ...]:
    """The versions, as in ``3.12``, that fit what the recipe asks for, in order of preference;
    empty if none does."""
    plain = re.fullmatch(r"(?:c?python[@-]?)?(\d+\.\d+)(?:\.\d+)*", recipe.python.strip())
    known = (*ON_LAMBDA, *BESIDE)
    if plain:
        return tuple(version for version in known if version == plain[1])
    if os.sep in recipe.python:
        return ()
    try:
        wanted = SpecifierSet(re.sub(r"^(?=\d)", "==", recipe.python.strip()))
    except InvalidSpecifier:
        return ()
    # The base image has the newest 3.12, so it satisfies ``>=3.12.4``.
    return tuple(version for version in known if wanted.contains(f"{version}.99"))


def asked_versions(recipe: Recipe) -> tuple[str, ...]:
    """As ``fitting_versions``; empty too if the repository asks for no version."""
    return () if recipe.python_from == ASSUMED[1] else fitting_versions(recipe)
