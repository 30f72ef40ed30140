"""Check values of the keys for AWS and GitHub; see ``values``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from tidegate.config import values

_PLACEHOLDER = re.compile(
    r"X{4,}|<[^>]*>|\b(your|my)[-_ ].*\bhere\b|\byour[-_ ]|fill[-_ ]?me|change[-_ ]?me"
    r"|replace[-_ ]?me|^TODO$|\.\.\.|…",
    re.IGNORECASE,
)


def branch(value: object) -> str:
    """The name of a git branch."""
    written = values.text(value)
    if re.search(r"[\s~^:?*\[\\]|\.\.|//|@\{|^[-/]|[/.]$", written) or len(written) > 200:
        what = f"is not a valid branch name in git: {values.show(value)}"
        raise values.InvalidValue(what, "write the name of an existing branch")
    return written


def for_aws(pattern: str, what: str) -> Callable[[object], str]:
    """Text that matches ``pattern``, and is not a placeholder."""

    def check(value: object) -> str:
        written = _filled_in(value)
        if not re.fullmatch(pattern, written):
            raise values.InvalidValue(f"must be {what}, not {values.show(value)}")
        return written

    return check


def account_id(value: object) -> str:
    """Twelve digits."""
    written = _filled_in(str(value) if type(value) is int else value)
    digits = re.sub(r"[\s-]", "", written)
    if not re.fullmatch(r"\d{12}", written, re.ASCII):
        fix = f"write '{digits}'" if re.fullmatch(r"\d{12}", digits, re.ASCII) else ""
        raise values.InvalidValue(
            f"must be the 12 digits of an AWS account, not {values.show(value)}", fix
        )
    return written


def bucket(value: object) -> str:
    """The name of an S3 bucket."""
    written = _filled_in(value)
    if written.startswith("s3://"):
        raise values.InvalidValue(
            "must be the bucket's name, not its address", f"write {values.show(written[5:])}"
        )
    rules = (
        (3 <= len(written) <= 63, "must have 3 to 63 characters"),
        (
            re.fullmatch(r"[a-z0-9.-]*", written),
            "takes only lower-case letters, digits, '-' and '.'",
        ),
        (
            re.fullmatch(r"[a-z0-9](.*[a-z0-9])?", written),
            "must begin and end with a letter or digit",
        ),
        (".." not in written, "must not have two dots in a row"),
        (not _is_address(written), "must not look like an IP address"),
        (
            not written.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
            and not written.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")),
            "has a beginning or end that is reserved by AWS",
        ),
    )
    for holds, rule in rules:
        if not holds:
            raise values.InvalidValue(
                f"{rule}; AWS would refuse the bucket name {values.show(value)}"
            )
    return written


def _is_address(written: str) -> bool:
    try:
        ipaddress.IPv4Address(written)
    except ValueError:
        return False
    return True


def _filled_in(value: object) -> str:
    written = values.text(value)
    if _PLACEHOLDER.search(written):
        raise values.InvalidValue(
            f"still has a placeholder, {values.show(value)}", "write your own, or remove it"
        )
    return written
