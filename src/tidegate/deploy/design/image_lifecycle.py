"""Which images ECR deletes, and when; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tidegate.targets.aws.names import Names

_MOST_RULES = 50  # in one lifecycle policy
_ENVIRONMENT_IMAGES = 5  # images with packages that are kept


def lifecycle_policy(names: Names, pipelines: Sequence[str], keep: int) -> str:
    """Which images are deleted when: ECR's lifecycle policy, JSON.

    The first rule that selects an image decides about it. The images in use have a moving tag and
    are kept. Of each pipeline, ``keep`` earlier images are kept. Images that no rule selects, such
    as those of pipelines that were removed, are kept for a year.
    """
    rules = [
        _rule(f"{tag} runs now", [tag], imageCountMoreThan=9999) for tag in names.moving_tags()
    ]
    rules.append(
        _rule("shared packages", ["environment-*"], imageCountMoreThan=_ENVIRONMENT_IMAGES)
    )
    # Longer names first: `lidar-*` would also select the images of `lidar-vap`.
    room = _MOST_RULES - len(rules) - 2
    for pipeline in sorted(dict.fromkeys(pipelines), key=lambda name: (-len(name), name))[:room]:
        rules.append(_rule(f"earlier {pipeline}", [f"{pipeline}-*"], imageCountMoreThan=keep))
    rules.append(_rule("without a tag", [], sinceImagePushed=14))
    rules.append(_rule("all others", None, sinceImagePushed=365))
    numbered = [{"rulePriority": number, **rule} for number, rule in enumerate(rules, 1)]
    return json.dumps({"rules": numbered}, separators=(",", ":"))


def _rule(description: str, patterns: list[str] | None, **count: int) -> dict[str, Any]:
    selection: dict[str, Any] = {"tagStatus": "any" if patterns is None else "untagged"}
    if patterns:
        selection = {"tagStatus": "tagged", "tagPatternList": patterns}
    [(kind, number)] = count.items()
    selection |= {"countType": kind, "countNumber": number}
    if kind == "sinceImagePushed":
        selection["countUnit"] = "days"
    return {"description": description, "selection": selection, "action": {"type": "expire"}}
