"""How a template is sent to CloudFormation: in the request, or through a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tidegate.deploy.core.artifacts import TEMPLATES
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.templates import LARGEST, Template
from tidegate.errors import ConfigurationError
from tidegate.targets.aws.clients import Clients, explained

Upload = Callable[[str, str], str]
"""Uploads the template of a stack to where CloudFormation can read it; returns its URL."""


def upload_to(bucket: str, clients: Clients, place: Place, prefix: str = TEMPLATES) -> Upload:
    """Uploads templates to a bucket, with keys made from their content."""

    def upload(stack: str, body: str) -> str:
        key = f"{prefix}{stack}/{hashlib.sha256(body.encode()).hexdigest()[:16]}.json"
        with explained("upload a template", f"arn:{place.partition}:s3:::{bucket}/{key}"):
            clients.s3.put_object(
                Bucket=bucket, Key=key, Body=body.encode(), ContentType="application/json"
            )
        return f"https://s3.{place.region}.{place.domain}/{bucket}/{key}"

    return upload


def template_argument(template: Template, upload: Upload | None) -> dict[str, str]:
    """The template as an argument of a request; a long one is uploaded.

    Raises:
        ConfigurationError: it is too long.
    """
    size = len(template.body.encode())
    if size > LARGEST:
        raise ConfigurationError(
            f"the template of the stack {template.stack} has {size:,} bytes",
            why=f"CloudFormation accepts at most {LARGEST:,} bytes",
            next="shorten the `environment:` or `inputs:` of the configs in it",
        )
    if not template.needs_upload:
        return {"TemplateBody": template.body}
    if upload is None:
        raise ConfigurationError(
            f"the template of the stack {template.stack} is too long for a request",
            why=f"it has {size:,} bytes, and there is no bucket to upload it to",
            next="create the branch's artifacts bucket: `tidegate bootstrap BRANCH`",
        )
    return {"TemplateURL": upload(template.stack, template.body)}
