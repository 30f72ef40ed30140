"""What a branch is on AWS: planned purely, then deployed by CloudFormation.

    plan = plan_release(keys, manifest, branch, images)   plain records
    templates = synthesize(plan)                          one template for each stack

Both are in ``design``; ``workflow`` has the steps of a release and of a deployment.
"""
