"""Tidegate's stacks in a CDK app, for people who add stacks of their own."""
