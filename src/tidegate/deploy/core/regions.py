"""Services that some regions do not have, such as connections to GitHub in China."""

from __future__ import annotations

CONNECTIONS = "codestar-connections"
"""CodeConnections as boto3 lists its regions: by its earlier name.

Source: AWS General Reference, "CodeConnections endpoints and quotas"."""


def no_connections(region: str) -> str:
    """The message that a region has no CodeConnections."""
    return (
        f"boto3 lists no CodeConnections in {region}: CodePipeline cannot be connected to GitHub"
        " there (China, GovCloud West and some new regions)"
    )
