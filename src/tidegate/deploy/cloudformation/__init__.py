"""Stacks: planned as change sets, deployed, followed, repaired, deleted."""
