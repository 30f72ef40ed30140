"""Every name in AWS, derived from the config; pure.

The names of stacks, functions, image tags and repositories are those of the older recipe. A name
that is too long for a service, or has a character that it does not accept, is changed and gets a
hash of the unchanged name, so that two names never become one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_HASH = 8
_ECR = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


def fit(
    name: str, *, limit: int, allowed: str = "A-Za-z0-9_-", first: str = "", begin: str = ""
) -> str:
    """``name`` if AWS accepts it, else a similar name that ends in a hash of ``name``.

    ``allowed`` and ``first`` are contents of a character class: of all characters, and of the
    first. If ``name`` is too long, its middle is left out. ``begin`` is the part of ``name`` that
    all names of one kind and branch begin with. The changed name keeps it, or if it is long, some
    of it and a hash of it. So ``matching`` gives a pattern for exactly these names.
    """
    fitting = _replace_characters(name, allowed, first)
    if fitting == name and len(name) <= limit:
        return name
    if begin:
        head = _shortened_begin(begin, limit, allowed, first)
        room = limit - len(head) - _HASH - 1
        rest = _replace_characters(name[len(begin) :], allowed)
        return f"{head}{rest[-room:]}-{_digest(name)}"
    room = limit - _HASH - 1
    if len(fitting) > room:
        part = room // 3
        fitting = f"{fitting[:part]}-{fitting[part + 1 - room :]}"
    return f"{fitting}-{_digest(name)}"


def matching(
    begin: str, *, limit: int, allowed: str = "A-Za-z0-9_-", first: str = "", more: int = 1000
) -> tuple[str, ...]:
    """Patterns, with AWS's ``*``, of all names that ``fit`` makes of names with this ``begin``.

    ``more`` is how many characters follow at most.
    """
    fits = _replace_characters(begin, allowed, first) == begin
    whole = (f"{begin}*",) if fits and len(begin) < limit else ()
    if fits and len(begin) + more <= limit:
        return whole
    return tuple(dict.fromkeys((*whole, f"{_shortened_begin(begin, limit, allowed, first)}*")))


def numbered(name: str, number: int, limit: int = 64) -> str:
    """The name of what a branch has once for each of its pipelines stacks, which count from 1."""
    return name if number == 1 else fit(f"{name}-{number}", limit=limit, begin=f"{name}-")


def partition_of(region: str) -> str:
    """What ARNs in a region begin with: ``aws``, or another in China and in GovCloud."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _shortened_begin(begin: str, limit: int, allowed: str, first: str) -> str:
    """What names with this ``begin`` begin with if they are changed."""
    room = limit - 2 * (_HASH + 1)
    fitting = _replace_characters(begin, allowed, first)
    if fitting == begin and len(begin) <= room // 2:
        return begin
    return f"{fitting[: room // 3].rstrip('-')}-{_digest(begin)}-"


def _replace_characters(text: str, allowed: str, first: str = "") -> str:
    fitting = re.sub(f"[^{allowed}]", "-", text)
    return fitting if not fitting or re.match(f"[{first or allowed}]", fitting) else f"x{fitting}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]


_ROLE = "A-Za-z0-9_+=,.@-"
_DOTTED = "A-Za-z0-9_.-"


@dataclass(frozen=True)
class _Kind:
    """The rules for the names of one kind of resource that each config has."""

    word: str
    """The word between the branch and the pipeline."""
    limit: int
    """The most characters that AWS accepts."""
    allowed: str = "A-Za-z0-9_-"
    """The characters that AWS accepts."""


_KINDS = {
    "function": _Kind("lambda", 64),
    "role": _Kind("role", 64, _ROLE),
    "queue": _Kind("queue", 80),
    "dead_letter_queue": _Kind("dead", 80),
    "rule": _Kind("rule", 64, _DOTTED),
    "schedule": _Kind("schedule", 64, _DOTTED),
    "alarm": _Kind("alarm", 255),
}
_SIBLINGS = {
    "pipelines_stack": 128,
    "dashboard": 255,
    "event_bus": 256,
    "events_role": 64,
    "scheduler_role": 64,
    "schedule_group": 64,
}
"""What each of the pipelines stacks has one of; the names of the second on end in a number."""
_RESERVED = ("xn--", "sthree-", "amzn-s3-demo-")
"""What S3 lets no bucket's name begin with."""


def _shared_name(base: str, kind: str, name: str, stack: int) -> str:
    """The name of what a stack has once; it begins like those of configs of that kind."""
    known = _KINDS[kind]
    begin = f"{base}-{known.word}-"
    number = f"-{stack}" if stack > 1 else ""
    return fit(f"{begin}{name}{number}", limit=known.limit, allowed=known.allowed, begin=begin)


@dataclass(frozen=True)
class BranchNames:
    """The names of what one branch of one pipelines repository has once."""

    repository: str
    """``pipelines_repo_name``."""
    branch: str
    """The branch that is deployed."""

    @property
    def base(self) -> str:
        """What all names begin with: ``{pipelines_repo_name}-{branch}``."""
        return f"{self.repository}-{self.branch}"

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
        return fit(f"{self.base}-ledger", limit=255, allowed=_DOTTED)

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
        return fit(f"{self.base}-build-role", limit=64, allowed=_ROLE)

    @property
    def github_role(self) -> str:
        """The role with which GitHub Actions releases the branch."""
        return fit(f"{self.base}-github-role", limit=64, allowed=_ROLE)

    @property
    def codepipeline_role(self) -> str:
        """The role of the pipeline of CodePipeline."""
        return fit(f"{self.base}-pipeline-role", limit=64, allowed=_ROLE)

    @property
    def role_path(self) -> str:
        """IAM's path of the roles of functions and schedules; no other branch has it.

        Names of branches may begin alike: ``a`` with branch ``b-role-c``, ``a-b`` with ``role-c``.
        """
        parts = (fit(part, limit=128, allowed=_ROLE) for part in (self.repository, self.branch))
        return f"/tidegate/{'/'.join(parts)}/"

    @property
    def scheduler_role(self) -> str:
        """The role with which EventBridge Scheduler sends to the queues."""
        return fit(f"{self.base}-scheduler-role", limit=64, allowed=_ROLE)

    @property
    def deploy_role(self) -> str:
        """The role with which CloudFormation deploys the pipelines stacks."""
        return fit(f"{self.base}-deploy-role", limit=64, allowed=_ROLE)

    @property
    def boundary(self) -> str:
        """The policy that says what roles of functions and schedules may do at most."""
        return fit(f"{self.base}-boundary", limit=128, allowed=_ROLE)

    def branch_alarm(self, about: str, stack: int = 1) -> str:
        """An alarm that the branch, or each of its stacks, has once."""
        return _shared_name(self.base, "alarm", about, stack)

    def sweep(self, kind: str, stack: int = 1) -> str:
        """The function, role or schedule (``kind``) of the sweep of a stack.

        It begins like those of configs. With two hyphens, it is not one of theirs.
        """
        return _shared_name(self.base, kind, "-sweep", stack)

    @property
    def recovery_rule(self) -> str:
        """The EventBridge rule that reports alarms that are over."""
        return fit(f"{self.base}-recovery-rule", limit=64, allowed=_DOTTED)

    @property
    def build_rule(self) -> str:
        """The EventBridge rule that reports builds."""
        return fit(f"{self.base}-build-rule", limit=64, allowed=_DOTTED)

    @property
    def codepipeline_rule(self) -> str:
        """The EventBridge rule that reports CodePipeline's pipeline."""
        return fit(f"{self.base}-pipeline-rule", limit=64, allowed=_DOTTED)

    @property
    def build_log_group(self) -> str:
        """The log group of builds, which CodeBuild names after the project."""
        return f"/aws/codebuild/{self.build_project}"

    @property
    def schedule_group(self) -> str:
        """The group of all schedules."""
        return fit(f"{self.base}-schedules", limit=64, allowed=_DOTTED)

    def artifacts_bucket(self, account: str, region: str) -> str:
        """The bucket of templates, source code and what CodePipeline hands on."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.base.lower()).strip("-") or "x"
        end = f"-artifacts-{account}-{region}"
        room = 63 - len(end)
        if plain == self.base and len(plain) <= room and not plain.startswith(_RESERVED):
            return f"{plain}{end}"
        if plain.startswith(_RESERVED):
            plain = f"x{plain}"
        return f"{plain[: room - _HASH - 1].rstrip('-')}-{_digest(self.base)}{end}"

    def _stack(self, what: str) -> str:
        return fit(f"{self.base}-{what}", limit=128, allowed="A-Za-z0-9-", first="A-Za-z")


@dataclass(frozen=True)
class Names(BranchNames):
    """All names of one branch: those of its pipelines and configs, too."""

    # Once for each pipelines stack

    @property
    def event_bus(self) -> str:
        """The event bus on which the rules of configs are."""
        return fit(f"{self.base}-events", limit=256, allowed=_DOTTED)

    @property
    def events_role(self) -> str:
        """The role with which EventBridge passes events on to that bus."""
        return fit(f"{self.base}-events-role", limit=64, allowed=_ROLE)

    def arrivals(self, kind: str, stack: int = 1) -> str:
        """The rule or dead-letter queue (``kind``) of a stack for files that arrive.

        It begins like those of configs. With two hyphens, it is not one of theirs.
        """
        return _shared_name(self.base, kind, "-arrivals", stack)

    # Once for each pipeline

    def image_tag(self, pipeline: str) -> str:
        """The tag that moves along with a pipeline's image, for people's eyes."""
        return fit(f"{pipeline}-{self.branch}", limit=128, allowed=_DOTTED, first="A-Za-z0-9_")

    # Once for each config

    def function(self, pipeline: str, config: str) -> str:
        """The Lambda function."""
        return self._each("function", pipeline, config)

    def log_group(self, pipeline: str, config: str) -> str:
        """The log group, which Lambda names after the function."""
        return f"/aws/lambda/{self.function(pipeline, config)}"

    def role(self, pipeline: str, config: str) -> str:
        """The function's role."""
        return self._each("role", pipeline, config)

    def queue(self, pipeline: str, config: str) -> str:
        """The queue of what is to run."""
        return self._each("queue", pipeline, config)

    def dead_letter_queue(self, pipeline: str, config: str) -> str:
        """The queue of what could not be run."""
        return self._each("dead_letter_queue", pipeline, config)

    def rule(self, pipeline: str, config: str) -> str:
        """The rule for files that arrive, on the stack's event bus."""
        return self._each("rule", pipeline, config)

    def schedule(self, pipeline: str, config: str) -> str:
        """The EventBridge schedule."""
        return self._each("schedule", pipeline, config)

    def alarm(self, pipeline: str, config: str, about: str) -> str:
        """A CloudWatch alarm ``about`` something, such as ``silence``."""
        return self._each("alarm", pipeline, config, f"{about}-")

    # All of a kind, whatever configs there are or will be

    def all(self, kind: str) -> tuple[str, ...]:
        """Patterns, for permissions, of all names of a kind, such as ``function``."""
        if kind == "log_group":
            return tuple(f"/aws/lambda/{pattern}" for pattern in self.all("function"))
        if kind in _SIBLINGS:
            first: str = getattr(self, kind)
            return (first, *matching(f"{first}-", limit=_SIBLINGS[kind], more=3))
        known = _KINDS[kind]
        begin = f"{self.base}-{known.word}-"
        return matching(begin, limit=known.limit, allowed=known.allowed)

    def moving_tags(self) -> tuple[str, ...]:
        """Patterns of all that ``image_tag`` gives, as ECR takes them: with two ``*`` at most."""
        branch = re.sub(f"[^{_DOTTED}]", "-", self.branch)
        hashed = f"*{f'-{branch}'[-40:]}-*"
        if branch != self.branch:
            return (hashed,)
        # A pipeline's name has 64 characters at most, and a tag 128.
        return (f"*-{branch}",) if len(branch) < 64 else (f"*-{branch}", hashed)

    def _each(self, kind: str, pipeline: str, config: str, more: str = "") -> str:
        known = _KINDS[kind]
        begin = f"{self.base}-{known.word}-"
        name = f"{begin}{more}{pipeline}-{config}"
        return fit(name, limit=known.limit, allowed=known.allowed, begin=begin)
