"""The AWS target: S3, DynamoDB, and the Lambda function that puts the runtime between them.

Runs beside Tsdat, like ``tidegate.runtime``: standard library, boto3 (through ``clients``
alone) and aws-lambda-powertools; Python 3.10 and newer.
"""
