"""Buckets and tables: they hold data, so a stack that contains them must leave them behind.

Tidegate's own stacks contain none; the older recipe's stack does.
"""

from __future__ import annotations

from tidegate.deploy.resources.base import EMPTY, AwsContext, ResourceType, count_in_words

_COUNTED = 1000


class Bucket(ResourceType):
    """A bucket of S3."""

    type = "AWS::S3::Bucket"
    label = "bucket"
    name_property = "BucketName"
    holds = "objects"
    keeps_data = True

    def contents(self, aws: AwsContext, physical: str) -> str:
        """How many objects are in the bucket; they are counted up to a limit."""
        found = aws.clients.s3.list_objects_v2(Bucket=physical, MaxKeys=_COUNTED)
        count = int(found.get("KeyCount", 0))
        more = "more than " if found.get("IsTruncated") else ""
        return more + count_in_words(count, "object") if count else EMPTY


class Table(ResourceType):
    """A table of DynamoDB."""

    type = "AWS::DynamoDB::Table"
    label = "table"
    name_property = "TableName"
    holds = "items"
    keeps_data = True

    def contents(self, aws: AwsContext, physical: str) -> str:
        """Whether there is anything in the table."""
        found = aws.clients.dynamodb.scan(TableName=physical, Limit=1, Select="COUNT")
        return "all its items" if found["Count"] else EMPTY


class GlobalTable(ResourceType):
    """A table of DynamoDB in several regions."""

    type = "AWS::DynamoDB::GlobalTable"
    label = "global table"
    name_property = "TableName"
    keeps_data = True


class BucketPolicy(ResourceType):
    """A bucket's policy: it says who may not read the data, so it is kept with the bucket."""

    type = "AWS::S3::BucketPolicy"
    label = "bucket policy"
    named = False
    keeps_data = True
    useless_without = ("AWS::S3::Bucket",)


class BucketEmptier(ResourceType):
    """The CDK's custom resource that empties a bucket as soon as it is deleted itself."""

    type = "Custom::S3AutoDeleteObjects"
    label = "emptying of a bucket"
    named = False
    keeps_data = True

    @property
    def plural(self) -> str:
        """What a person calls several of them."""
        return "emptyings of buckets"
