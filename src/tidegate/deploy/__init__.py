"""Releases: what a branch is on AWS, planned purely, then synthesized (``stacks``).

    plan = plan_release(keys, manifest, branch, images)   plain records; print(describe(plan))
    templates = synthesize(plan)                          CloudFormation, one for each stack

``plan`` makes the records of ``model``; ``roles``, ``metrics`` and ``schedules`` are parts of it;
``placement`` says which config lies in which stack. Only ``stacks`` imports the CDK, and only when
it is asked for templates.
"""
