"""The same stacks for people who use the CDK."""
