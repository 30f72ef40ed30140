"""Where the dashboard listens, and what its readers may do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from tidegate.errors import UsageError

TOKEN_VARIABLE = "TIDEGATE_WEB_TOKEN"
SHORTEST_TOKEN = 20
"""Characters; a shorter token could be guessed."""


@dataclass(frozen=True)
class WebOptions:
    """Where the dashboard listens, and what its readers may do."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 0
    """The port; 0: a free one."""
    token: str = ""
    """What a reader must know to see anything; "": nothing, for this machine only."""
    read_only: bool = False
    """Whether there are no buttons: nothing can be run or acknowledged."""
    names: tuple[str, ...] = ()
    """Further names of this server, as in ``Host`` headers; for example behind a proxy."""

    earlier: Path | None = None
    """A copy of the products from before a change, to compare with."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address or name is that of the machine itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_token(file: Path | None) -> str:
    """The token: the content of a file, or the variable TIDEGATE_WEB_TOKEN; "" if there is none.

    Raises:
        UsageError: the file cannot be read, or the token is too short.
    """
    token, source = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    if file is not None:
        try:
            token, source = file.read_text("utf-8").strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the token cannot be read from {file}",
                why=str(error),
                next="write a long random text into it",
            ) from error
    if (token or file is not None) and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"the token in {source} is too short",
            why=f"with fewer than {SHORTEST_TOKEN} characters it could be guessed",
            next=_MAKE_TOKEN,
        )
    return token


def check_options(options: WebOptions) -> WebOptions:
    """The options, if they are safe.

    Raises:
        UsageError: other machines could reach the dashboard, and it has no token.
    """
    if not options.loopback and not options.token:
        raise UsageError(
            f"--host {options.host} needs a token",
            why="everybody in the network could see the data and run pipelines",
            next=_MAKE_TOKEN,
        )
    return options


_MAKE_TOKEN = (
    "make one: `(umask 077; openssl rand -hex 24 > web-token)`, then `--token-file web-token`"
)
