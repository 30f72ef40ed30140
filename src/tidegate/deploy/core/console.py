"""Links to pages of AWS's console; pure.

China and GovCloud have their own consoles, with the same pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from tidegate.deploy.core.place import Place

_HOSTS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True)
class Console:
    """The console of one account and region."""

    place: Place
    """The account and region."""

    @property
    def home(self) -> str:
        """The start page."""
        return self._page("console/home")

    def stack(self, name: str) -> str:
        """A stack of CloudFormation: its events, resources and template."""
        return self._page("cloudformation/home", f"/stacks/stackinfo?stackId={_part(name)}")

    def codepipeline(self, name: str) -> str:
        """A CodePipeline pipeline, with the state of its stages."""
        return self._page(f"codesuite/codepipeline/pipelines/{_part(name)}/view")

    def build_project(self, name: str) -> str:
        """A project of CodeBuild, with its builds."""
        return self._page(f"codesuite/codebuild/{self.place.account}/projects/{_part(name)}")

    def build(self, project: str, id: str) -> str:
        """One build, with its log; ``id`` is ``project:uuid``."""
        projects = f"codesuite/codebuild/{self.place.account}/projects"
        return self._page(f"{projects}/{_part(project)}/build/{_part(id)}")

    def connections(self) -> str:
        """The connections, such as to GitHub: where a pending one is completed."""
        return self._page("codesuite/settings/connections")

    def repository(self, name: str) -> str:
        """A repository of ECR, with its images."""
        return self._page(f"ecr/repositories/private/{self.place.account}/{_path(name)}")

    def bucket(self, name: str, prefix: str = "") -> str:
        """A bucket, or the objects below a prefix."""
        more = f"&prefix={_part(prefix)}&showversions=false" if prefix else ""
        return self._page(f"s3/buckets/{_part(name)}", query=more)

    def function(self, name: str) -> str:
        """A Lambda function."""
        return self._page("lambda/home", f"/functions/{_part(name)}")

    def log_group(self, name: str) -> str:
        """A log group of CloudWatch, with its streams."""
        # This page needs names that are encoded twice, with $ in place of the outer %.
        encoded = quote(_part(name), safe="").replace("%", "$")
        return self._page("cloudwatch/home", f"logsV2:log-groups/log-group/{encoded}")

    def queue(self, name: str) -> str:
        """A queue of SQS."""
        place = self.place
        url = f"https://sqs.{place.region}.{place.domain}/{place.account}/{name}"
        return self._page("sqs/v3/home", f"/queues/{_part(url)}")

    def schedule(self, group: str, name: str) -> str:
        """A schedule of EventBridge Scheduler."""
        return self._page("scheduler/home", f"schedules/{_part(group)}/{_part(name)}")

    def rule(self, bus: str, name: str) -> str:
        """A rule on an event bus of EventBridge."""
        return self._page("events/home", f"/eventbus/{_part(bus)}/rules/{_part(name)}")

    def event_buses(self) -> str:
        """All event buses of EventBridge."""
        return self._page("events/home", "/eventbuses")

    def alarm(self, name: str) -> str:
        """An alarm of CloudWatch."""
        return self._page("cloudwatch/home", f"alarmsV2:alarm/{_part(name)}")

    def dashboard(self, name: str) -> str:
        """A dashboard of CloudWatch."""
        return self._page("cloudwatch/home", f"dashboards/dashboard/{_part(name)}")

    def table(self, name: str) -> str:
        """A table of DynamoDB."""
        return self._page("dynamodbv2/home", f"table?name={_part(name)}")

    def topic(self, name: str) -> str:
        """A topic of SNS, where people subscribe to it."""
        return self._page("sns/v3/home", f"/topic/{self.place.arn('sns', _part(name))}")

    def role(self, name: str) -> str:
        """A role of IAM."""
        return self._page("iam/home", f"/roles/details/{_part(name)}")

    def quotas(self, service: str) -> str:
        """The quotas of a service, such as ``lambda``, where higher ones can be requested."""
        return self._page(f"servicequotas/home/services/{_part(service)}/quotas")

    def _page(self, path: str, fragment: str = "", query: str = "") -> str:
        region = self.place.region
        host = f"{region}.{_HOSTS[self.place.partition]}"
        page = f"https://{host}/{path}?region={region}{query}"
        return f"{page}#{fragment}" if fragment else page


def _part(text: str) -> str:
    return quote(text, safe="")


def _path(text: str) -> str:
    return quote(text, safe="/")
