"""An account and region of AWS, and the ARNs in it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.targets.aws.names import partition_of


@dataclass(frozen=True)
class Place:
    """An account and region of AWS, for ARNs."""

    account: str
    """Twelve digits."""
    region: str
    """Such as ``us-west-2``."""

    @property
    def partition(self) -> str:
        """``aws``; ``aws-cn`` in China and ``aws-us-gov`` in GovCloud."""
        return partition_of(self.region)

    @property
    def domain(self) -> str:
        """What the names of AWS's hosts end in."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def bucket(self, name: str, key: str = "") -> str:
        """The ARN of a bucket, or of keys in it."""
        return f"arn:{self.partition}:s3:::{name}" + (f"/{key}" if key else "")

    def role(self, name: str, path: str = "/") -> str:
        """The ARN of a role."""
        return f"arn:{self.partition}:iam::{self.account}:role{path}{name}"

    def identity_provider(self, host: str) -> str:
        """The ARN of an OpenID Connect provider, which is named by its host."""
        return f"arn:{self.partition}:iam::{self.account}:oidc-provider/{host}"

    def policy(self, name: str) -> str:
        """The ARN of a policy."""
        return f"arn:{self.partition}:iam::{self.account}:policy/{name}"
