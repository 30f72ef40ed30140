"""Where things are in a branch's artifacts bucket: the prefixes of their keys."""

SOURCE = "source/"
"""Source code that CodeBuild builds from."""
TEMPLATES = "templates/"
"""CloudFormation templates that are too long to be sent with a request."""
TIDEGATE = "tidegate/"
"""Tidegate itself, which builds install."""
