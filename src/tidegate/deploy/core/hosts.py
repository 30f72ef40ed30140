"""Whether a host is this machine: emulators and test registries are."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine; such hosts are asked without TLS."""
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host.strip("[]")
    return name in ("localhost", "::1") or name.startswith("127.")
