"""Deployments and releases, as their steps."""
