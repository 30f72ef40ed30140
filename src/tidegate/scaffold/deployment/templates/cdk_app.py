"""The CDK app of this deployment: Tidegate's stacks, and yours beside them.

It needs `tidegate[cdk]`. `tidegate deploy` and releases do not read this file: they deploy
Tidegate's own stacks only.
"""

from tidegate.deploy.cdk.app import build

app = build()  # the templates of Tidegate's stacks, included by CfnInclude

# Your own stacks, for example:
#
# import aws_cdk
# from aws_cdk import aws_s3
#
# archive = aws_cdk.Stack(app, "our-archive")
# aws_s3.Bucket(archive, "Archive", removal_policy=aws_cdk.RemovalPolicy.RETAIN)

app.synth()
