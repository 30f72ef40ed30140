"""The steps of a deployment (of the branch's stacks) and of a release (of its pipelines)."""
