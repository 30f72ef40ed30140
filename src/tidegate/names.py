"""Every name in AWS, derived from the config; pure.

The names of stacks, functions, image tags and repositories are those of the older recipe. Where a
service would refuse such a name (too long, or with a character that it does not take), it is mended
and ends in a hash of what it should have been, so that two names never become one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_HASH = 8
_ECR = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


def fit(name: str, *, limit: int, allowed: str = "A-Za-z0-9_-", first: str = "") -> str:
    """``name`` when it fits, else what is left of it with a hash of the whole.

    ``allowed`` and ``first`` are what stands in a character class: all characters may be of the
    one, the first must be of the other. Of a name that is too long, both ends are kept: it begins
    with the repository, and ends in what it is the name of.
    """
    fitting = re.sub(f"[^{allowed}]", "-", name)
    if not re.match(f"[{first or allowed}]", fitting):
        fitting = f"x{fitting}"
    if fitting == name and len(name) <= limit:
        return name
    room = limit - _HASH - 1
    if len(fitting) > room:
        head = room // 3
        fitting = f"{fitting[:head]}-{fitting[head + 1 - room :]}"
    return f"{fitting}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]


@dataclass(frozen=True)
class Names:
    """The names of one branch of one pipelines repository."""

    repository: str
    """``pipelines_repo_name``."""
    branch: str
    """The branch that is deployed."""

    @property
    def base(self) -> str:
        """What all names begin with: ``{pipelines_repo_name}-{branch}``."""
        return f"{self.repository}-{self.branch}"

    # Once a branch

    @property
    def codepipeline_stack(self) -> str:
        """The stack that is deployed from a laptop, once."""
        return self._stack("CodePipelineStack")

    @property
    def pipelines_stack(self) -> str:
        """The stack that each release updates."""
        return self._stack("PipelinesStack")

    @property
    def image_repository(self) -> str:
        """The ECR repository of all images."""
        if _ECR.fullmatch(self.base) and len(self.base) <= 256:
            return self.base
        # ECR takes lower case only, and one separator at a time.
        plain = re.sub(r"[^a-z0-9]+", "-", self.base.lower()).strip("-") or "x"
        return f"{plain[: 256 - _HASH - 1].rstrip('-')}-{_digest(self.base)}"

    @property
    def ledger_table(self) -> str:
        """The DynamoDB table of the ledger."""
        return fit(f"{self.base}-ledger", limit=255, allowed="A-Za-z0-9_.-")

    @property
    def alerts_topic(self) -> str:
        """The SNS topic that alarms and failed builds go to."""
        return fit(f"{self.base}-alerts", limit=256)

    @property
    def dashboard(self) -> str:
        """The CloudWatch dashboard."""
        return fit(f"{self.base}-dashboard", limit=255)

    @property
    def codepipeline(self) -> str:
        """The pipeline of CodePipeline."""
        return fit(f"{self.base}-pipeline", limit=100, allowed="A-Za-z0-9.@_-")

    @property
    def build_project(self) -> str:
        """The project of CodeBuild."""
        return fit(f"{self.base}-build", limit=150, first="A-Za-z0-9")

    @property
    def build_role(self) -> str:
        """The role of the CodeBuild project."""
        return fit(f"{self.base}-build-role", limit=64, allowed="A-Za-z0-9_+=,.@-")

    @property
    def codepipeline_role(self) -> str:
        """The role of the pipeline of CodePipeline."""
        return fit(f"{self.base}-pipeline-role", limit=64, allowed="A-Za-z0-9_+=,.@-")

    @property
    def scheduler_role(self) -> str:
        """The role with which EventBridge Scheduler sends to the queues."""
        return fit(f"{self.base}-scheduler-role", limit=64, allowed="A-Za-z0-9_+=,.@-")

    @property
    def schedule_group(self) -> str:
        """The group of all schedules."""
        return fit(f"{self.base}-schedules", limit=64, allowed="A-Za-z0-9_.-")

    # Once a pipeline

    def image_tag(self, pipeline: str) -> str:
        """The tag that moves along with a pipeline's image, for people's eyes."""
        return fit(
            f"{pipeline}-{self.branch}", limit=128, allowed="A-Za-z0-9_.-", first="A-Za-z0-9_"
        )

    # Once a config

    def function(self, pipeline: str, config: str) -> str:
        """The Lambda function."""
        return fit(self._of("lambda", pipeline, config), limit=64)

    def log_group(self, pipeline: str, config: str) -> str:
        """The log group, which Lambda names after the function."""
        return f"/aws/lambda/{self.function(pipeline, config)}"

    def role(self, pipeline: str, config: str) -> str:
        """The function's role."""
        return fit(self._of("role", pipeline, config), limit=64, allowed="A-Za-z0-9_+=,.@-")

    def queue(self, pipeline: str, config: str) -> str:
        """The queue of what is to run."""
        return fit(self._of("queue", pipeline, config), limit=80)

    def dead_letter_queue(self, pipeline: str, config: str) -> str:
        """The queue of what could not be run."""
        return fit(self._of("dead", pipeline, config), limit=80)

    def rule(self, pipeline: str, config: str) -> str:
        """The EventBridge rule for files that arrive."""
        return fit(self._of("rule", pipeline, config), limit=64, allowed="A-Za-z0-9_.-")

    def schedule(self, pipeline: str, config: str) -> str:
        """The EventBridge schedule."""
        return fit(self._of("schedule", pipeline, config), limit=64, allowed="A-Za-z0-9_.-")

    def alarm(self, pipeline: str, config: str, about: str) -> str:
        """A CloudWatch alarm ``about`` something, such as ``silence``."""
        return fit(self._of(f"alarm-{about}", pipeline, config), limit=255)

    def _stack(self, what: str) -> str:
        return fit(f"{self.base}-{what}", limit=128, allowed="A-Za-z0-9-", first="A-Za-z")

    def _of(self, what: str, pipeline: str, config: str) -> str:
        return f"{self.base}-{what}-{pipeline}-{config}"
