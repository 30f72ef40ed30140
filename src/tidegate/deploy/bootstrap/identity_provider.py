"""GitHub's OpenID Connect provider in IAM, which an account has once, for all branches."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.deploy.core.place import Place
from tidegate.deploy.resources.base import is_gone
from tidegate.errors import StorageError
from tidegate.targets.aws.clients import Clients, Missing, explained


def create_provider(
    clients: Clients, place: Place, host: str, audience: str, say: Callable[[str], None]
) -> None:
    """Create the provider with this host, unless it exists; it is in no stack, and is kept.

    Source: IAM User Guide, "Create an OpenID Connect (OIDC) identity provider in IAM".

    Raises:
        StorageError: the caller may not do it.
    """
    arn, iam = place.identity_provider(host), clients.client("iam")
    try:
        with explained("look for the identity provider", arn):
            known = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    except (StorageError, Missing) as error:
        if not is_gone(error):
            raise
        with explained("create the identity provider", arn):
            iam.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=[audience])
        say(f"created the identity provider {host}")
        return
    if audience not in known.get("ClientIDList", ()):
        with explained("change the identity provider", arn):
            iam.add_client_id_to_open_id_connect_provider(
                OpenIDConnectProviderArn=arn, ClientID=audience
            )
        say(f"added the audience {audience} to the identity provider {host}")
