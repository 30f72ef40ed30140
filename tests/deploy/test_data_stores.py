"""Buckets and the table, created and adopted on the emulator, which knows several accounts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from release_samples import ACCOUNT, KEYS

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, REGION, MiniStack, ministack

from tidegate.config.models import AwsKeys, PipelinesConfig
from tidegate.deploy.bootstrap import data_stores
from tidegate.deploy.bootstrap.buckets import SETTINGS
from tidegate.deploy.bootstrap.data_stores import (
    DataStore,
    DataStores,
    DataStoresRejected,
    apply,
    describe,
    plan_data_stores,
    shared_outputs,
)
from tidegate.deploy.bootstrap.identity_provider import create_provider
from tidegate.deploy.core.place import Place
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import create_table, table_definition
from tidegate.targets.aws.names import Names

pytestmark = [pytest.mark.slow, pytest.mark.aws]

OTHER = "210987654321"
numbers = count(1)
Enter = Callable[..., Clients]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with ministack(tmp_path_factory.mktemp("data-stores")) as running:
        yield running


def entering(stack: MiniStack, account: str, region: str = REGION, **more: str) -> Clients:
    """Clients of an account: the emulator takes an access key of twelve digits for one."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ACCESS_KEY_ID": account, **more}.items():
            patch.setenv(name, value)
        clients = Clients(region=region, endpoint=stack.endpoint)
        for service in ("s3", "dynamodb", "sqs"):  # they keep the credentials of this moment
            clients.client(service)
        return clients


@pytest.fixture(scope="module")
def clients(stack: MiniStack) -> Clients:
    return entering(stack, ACCOUNT)


@pytest.fixture
def names() -> Names:
    return Names(f"waves{next(numbers)}", "main")


@pytest.fixture
def keys(names: Names) -> AwsKeys:
    own = {
        "pipelines_repo_name": names.repository,
        "input_bucket_name": f"{names.repository}-raw",
        "output_bucket_name": f"{names.repository}-products",
        "create_buckets": True,
    }
    return KEYS.model_copy(update=own)


def of(found: DataStores, use: str) -> DataStore:
    [thing] = [thing for thing in found.stores if use in thing.uses]
    return thing


def set_by(thing: DataStore) -> set[str]:
    return {setting.id for setting in thing.settings}


def make(clients: Clients, name: str | None, region: str = REGION) -> str:
    assert name is not None
    where: Any = {"LocationConstraint": region}
    clients.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return name


def statements(clients: Clients, bucket: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(clients.s3.get_bucket_policy(Bucket=bucket)["Policy"])[
        "Statement"
    ]
    return found


def test_all_is_created(clients: Clients, keys: AwsKeys, names: Names) -> None:
    plan = plan_data_stores(keys, names, clients)
    assert {thing.action for thing in plan.stores} == {"create"}
    said: list[str] = []
    apply(plan, clients, said.append)
    assert len(said) == 4
    assert said[0].startswith(f"created the bucket {names.repository}-raw (input): ")
    for use in ("input", "output", "artifacts"):
        bucket = of(plan, use).name
        s3 = clients.s3
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert set(block.values()) == {True}
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        [only] = statements(clients, bucket)
        assert (only["Effect"], only["Principal"], only["Action"]) == ("Deny", "*", "s3:*")
        assert only["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        assert only["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
        version = s3.get_bucket_versioning(Bucket=bucket).get("Status")
        assert version == (None if use == "artifacts" else "Enabled")
        # No data ever expires.
        expiring = [rule["Filter"]["Prefix"] for rule in rules if "Expiration" in rule]
        logs = ["tidegate/logs/succeeded/"] if use == "output" else []
        assert expiring == (["source/", "templates/"] if use == "artifacts" else logs)
        told = s3.get_bucket_notification_configuration(Bucket=bucket)
        assert ("EventBridgeConfiguration" in told) == (use == "input")
    table = clients.dynamodb.describe_table(TableName=names.ledger_table)["Table"]
    assert table["DeletionProtectionEnabled"] is True
    assert "SSEDescription" not in table  # with AWS's own key, which is free
    kept = clients.dynamodb.describe_continuous_backups(TableName=names.ledger_table)
    point = kept["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert point["PointInTimeRecoveryStatus"] == "ENABLED"
    expiry = clients.dynamodb.describe_time_to_live(TableName=names.ledger_table)
    assert expiry["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "expires",
    }


def test_the_second_time_there_is_nothing_to_do(
    clients: Clients, keys: AwsKeys, names: Names
) -> None:
    apply(plan_data_stores(keys, names, clients), clients, lambda text: None)
    again = plan_data_stores(keys, names, clients)
    assert {(thing.state, thing.action) for thing in again.stores} == {("ours", "nothing")}
    apply(again, clients, pytest.fail)


def test_what_is_there_is_adopted_and_what_others_set_stays(
    clients: Clients, keys: AwsKeys, names: Names
) -> None:
    bucket = make(clients, keys.input_bucket_name)
    s3: Any = clients.s3
    s3.put_object(Bucket=bucket, Key="data", Body=b"1")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "owner", "Value": "them"}]})
    theirs = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": theirs}))
    rule = {
        "ID": "archive",
        "Status": "Enabled",
        "Filter": {"Prefix": "old/"},
        "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    queue = clients.sqs.create_queue(QueueName=f"{bucket}-theirs")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    notifications = {
        "QueueConfigurations": [
            {
                "Id": "queue",
                "QueueArn": arn["Attributes"]["QueueArn"],
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "theirs/"}]}},
            }
        ],
        "LambdaFunctionConfigurations": [
            {
                "Id": "function",
                "LambdaFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:theirs",
                "Events": ["s3:ObjectRemoved:*"],
            }
        ],
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=notifications, SkipDestinationValidation=True
    )

    plan = plan_data_stores(keys, names, clients)
    thing = of(plan, "input")
    assert (thing.state, thing.action) == ("ours", "adopt")
    assert set_by(thing) == {"tls", "private", "uploads", "events"}
    assert "its other notifications (2) are kept" in describe(plan)
    said: list[str] = []
    apply(plan, clients, said.append)
    assert said[0].startswith(f"changed the bucket {bucket} (input): ")

    found = statements(clients, bucket)
    assert found[0] == theirs
    assert len(found) == 2
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rules[0] == rule
    assert len(rules) == 2
    told = s3.get_bucket_notification_configuration(Bucket=bucket)
    told.pop("ResponseMetadata")
    assert told == {**notifications, "EventBridgeConfiguration": {}}
    tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    assert tags == [{"Key": "owner", "Value": "them"}]
    assert s3.get_object(Bucket=bucket, Key="data")["Body"].read() == b"1"
    assert of(plan_data_stores(keys, names, clients), "input").action == "nothing"


class AnsweringBucket:
    """A bucket with an old lifecycle rule; the emulator does not keep where its prefix was."""

    def __init__(self) -> None:
        self.written: Any = None

    def call(self, action: str, *absent: str, **arguments: Any) -> Any:
        if action == "get_bucket_lifecycle_configuration":
            old = {"ID": "old", "Status": "Enabled", "Prefix": "a/", "Expiration": {"Days": 9}}
            return {"Rules": [old]}
        self.written = arguments["LifecycleConfiguration"]["Rules"]
        return None


def test_an_old_lifecycle_rule_is_converted() -> None:
    """S3 refuses rules with ``Prefix`` at the top beside rules with ``Filter``."""
    bucket: Any = AnsweringBucket()
    SETTINGS["uploads"].add(bucket)
    converted, own = bucket.written
    assert converted == {
        "ID": "old",
        "Status": "Enabled",
        "Filter": {"Prefix": "a/"},
        "Expiration": {"Days": 9},
    }
    assert "Filter" in own
    assert "Prefix" not in own


def test_a_policy_that_refuses_plain_http_in_other_words_is_enough(
    clients: Clients, keys: AwsKeys, names: Names
) -> None:
    bucket = make(clients, keys.output_bucket_name)
    own = {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": ["s3:*"],
        "Resource": [f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"],
        "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
    }
    policy = {"Version": "2012-10-17", "Statement": [own]}
    clients.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert "tls" not in set_by(of(plan_data_stores(keys, names, clients), "output"))
    # One that leaves something out is not.
    for weaker in (
        {"Resource": f"arn:aws:s3:::{bucket}/*"},
        {"Action": "s3:PutObject"},
        {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}},
        {"Condition": {**own["Condition"], "StringEquals": {"aws:PrincipalAccount": OTHER}}},  # type: ignore[dict-item]
    ):
        clients.s3.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({**policy, "Statement": [own | weaker]})
        )
        assert "tls" in set_by(of(plan_data_stores(keys, names, clients), "output")), weaker


def test_a_public_bucket_is_told_of_before_it_is_closed(
    clients: Clients, keys: AwsKeys, names: Names
) -> None:
    bucket = make(clients, keys.output_bucket_name)
    clients.s3.delete_public_access_block(Bucket=bucket)
    public = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [public]}
    clients.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    plan = plan_data_stores(keys, names, clients)
    assert "IT IS PUBLIC NOW" in describe(plan)
    apply(plan, clients, lambda text: None)
    assert of(plan_data_stores(keys, names, clients), "output").action == "nothing"


def test_buckets_that_are_not_ours_to_create(clients: Clients, keys: AwsKeys, names: Names) -> None:
    """`create_buckets: false`: they must exist, and only what is needed is set."""
    keys = keys.model_copy(update={"create_buckets": None})
    plan = plan_data_stores(keys, names, clients)
    assert of(plan, "input").action == of(plan, "output").action == "refuse"
    assert of(plan, "artifacts").action == "create"  # that one is Tidegate's own
    with pytest.raises(DataStoresRejected, match="create_buckets: true"):
        apply(plan, clients, pytest.fail)
    assert of(plan_data_stores(keys, names, clients), "artifacts").state == "missing"

    raw, products = (
        make(clients, name) for name in (keys.input_bucket_name, keys.output_bucket_name)
    )
    plan = plan_data_stores(keys, names, clients)
    assert set_by(of(plan, "input")) == {"events"}
    assert of(plan, "output").action == "nothing"
    said: list[str] = []
    apply(plan, clients, said.append)
    assert said[0].startswith(f"changed the bucket {raw} (input): ")
    told = clients.s3.get_bucket_notification_configuration(Bucket=raw)
    assert "EventBridgeConfiguration" in told
    for bucket in (raw, products):
        with pytest.raises(clients.s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
            clients.s3.get_bucket_policy(Bucket=bucket)


def test_a_bucket_in_another_region(
    stack: MiniStack, clients: Clients, keys: AwsKeys, names: Names
) -> None:
    make(entering(stack, ACCOUNT, "eu-west-1"), keys.output_bucket_name, "eu-west-1")
    thing = of(plan_data_stores(keys, names, clients), "output")
    assert (thing.state, thing.action) == ("wrong region", "refuse")
    assert "eu-west-1" in thing.why
    assert "`output_bucket_name`" in thing.next


def test_a_name_that_somebody_else_has(
    stack: MiniStack, clients: Clients, keys: AwsKeys, names: Names
) -> None:
    make(entering(stack, OTHER), keys.input_bucket_name)
    plan = plan_data_stores(keys, names, clients)
    assert (of(plan, "input").state, of(plan, "input").action) == ("somebody else's", "refuse")
    with pytest.raises(DataStoresRejected) as caught:
        apply(plan, clients, pytest.fail)
    assert "`input_bucket_name`" in caught.value.next
    assert of(plan_data_stores(keys, names, clients), "output").state == "missing", (
        "nothing was done"
    )


def test_a_name_that_somebody_takes_meanwhile(
    stack: MiniStack, clients: Clients, keys: AwsKeys, names: Names
) -> None:
    plan = plan_data_stores(keys, names, clients)
    make(entering(stack, OTHER), keys.output_bucket_name)
    with pytest.raises(TidegateError, match=r"belongs to another AWS account[^$]*choose another"):
        apply(plan, clients, lambda text: None)
    # What was done is not done again, once another name is chosen.
    keys = keys.model_copy(update={"output_bucket_name": f"{names.repository}-other"})
    again = plan_data_stores(keys, names, clients)
    assert of(again, "input").action == "nothing"
    apply(again, clients, lambda text: None)
    assert not plan_data_stores(keys, names, clients).changes


def test_branches_share_buckets(clients: Clients, keys: AwsKeys, names: Names) -> None:
    apply(plan_data_stores(keys, names, clients), clients, lambda text: None)
    dev = plan_data_stores(keys, Names(names.repository, "dev"), clients)
    assert {use: of(dev, use).action for use in ("input", "output", "artifacts", "ledger")} == {
        "input": "nothing",
        "output": "nothing",
        "artifacts": "create",
        "ledger": "create",
    }


def test_one_bucket_for_input_and_output(clients: Clients, keys: AwsKeys, names: Names) -> None:
    keys = keys.model_copy(update={"output_bucket_name": keys.input_bucket_name})
    plan = plan_data_stores(keys, names, clients)
    assert of(plan, "input").uses == ("input", "output")
    apply(plan, clients, lambda text: None)
    assert not plan_data_stores(keys, names, clients).changes


def test_a_table_without_its_settings(clients: Clients, keys: AwsKeys, names: Names) -> None:
    create_table(names.ledger_table, clients)
    plan = plan_data_stores(keys, names, clients)
    assert of(plan, "ledger").action == "adopt"
    assert set_by(of(plan, "ledger")) == {"backups", "protected", "expiry"}
    apply(plan, clients, lambda text: None)
    assert of(plan_data_stores(keys, names, clients), "ledger").action == "nothing"


def test_a_table_that_is_no_ledger(clients: Clients, keys: AwsKeys, names: Names) -> None:
    definition = table_definition()
    del definition["GlobalSecondaryIndexes"][1]
    definition["AttributeDefinitions"] = [
        one for one in definition["AttributeDefinitions"] if one["AttributeName"] != "two"
    ]
    clients.dynamodb.create_table(TableName=names.ledger_table, **definition)
    thing = of(plan_data_stores(keys, names, clients), "ledger")
    assert thing.action == "refuse"
    assert thing.why == "it has no index by-two by two and place"


def test_without_permission(
    tmp_path_factory: pytest.TempPathFactory, keys: AwsKeys, names: Names
) -> None:
    """With a role that may do next to nothing, on an emulator that looks at permissions."""
    with ministack(tmp_path_factory.mktemp("denied"), {"AUTH": "true"}) as stack:
        root = entering(stack, "test")
        account = root.client("sts").get_caller_identity()["Account"]
        keys = keys.model_copy(update={"account_id": account})
        make(root, keys.input_bucket_name)
        make(root, keys.output_bucket_name)
        arn = f"arn:aws:s3:::{keys.input_bucket_name}"
        allowed = [
            {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"},
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:HeadBucket"], "Resource": arn},
        ]
        role = limited_role(root, allowed)
        found = plan_data_stores(keys, names, entering(stack, **role))
        states = {use: of(found, use).state for use in ("input", "output", "artifacts", "ledger")}
        assert states == {
            "input": "not permitted",  # its settings
            "output": "not permitted",
            "artifacts": "missing",
            "ledger": "not permitted",
        }
        text = describe(found)
        assert f"allow s3:GetBucketPolicy on {arn}" in text
        assert f"allow s3:ListBucket on arn:aws:s3:::{keys.output_bucket_name}" in text
        assert "dynamodb:DescribeTable" in text


def limited_role(root: Clients, allowed: list[dict[str, Any]]) -> dict[str, str]:
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    iam = root.client("iam")
    role = iam.create_role(
        RoleName="limited",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    policy = {"Version": "2012-10-17", "Statement": allowed}
    iam.put_role_policy(RoleName="limited", PolicyName="p", PolicyDocument=json.dumps(policy))
    given = root.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    return {
        "account": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def config(**branches: dict[str, str]) -> PipelinesConfig:
    entry = {"name": "a", "type": "VAP", "trigger": "Cron", "schedule": "Daily"}
    configs = {"c": {"config_file_path": "pipelines/a/config/pipeline.yaml"}}
    return PipelinesConfig.model_validate(
        {
            **{key: value for key, value in KEYS.model_dump().items() if value is not None},
            "pipelines": [{**entry, "configs": configs}],
            "branches": branches or None,
        }
    )


class TestBranchesThatShareAnOutput:
    def test_a_branch_that_is_not_named_shares_with_main(self) -> None:
        assert shared_outputs(config(), "main") == ()
        [note] = shared_outputs(config(), "dev")
        assert note.startswith("dev writes to the same output bucket as main, waves-products")

    def test_a_branch_with_a_bucket_of_its_own(self) -> None:
        model = config(dev={"output_bucket_name": "waves-dev"})
        assert shared_outputs(model, "dev") == shared_outputs(model, "main") == ()
        assert "as main, " in shared_outputs(model, "test")[0]

    def test_several(self) -> None:
        model = config(
            dev={"region": "us-west-2"}, more={"output_bucket_name": "waves-products"}, none={}
        )
        assert " as dev, more and none, " in shared_outputs(model, "main")[0]


def test_a_key_of_ones_own(clients: Clients, keys: AwsKeys, names: Names) -> None:
    """Functions need permission for the key, so the plan names it; a disabled one is refused."""
    bucket = make(clients, keys.input_bucket_name)
    kms = clients.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    clients.s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )
    found = of(plan_data_stores(keys, names, clients), "input")
    assert (found.action, found.key) == ("adopt", key)
    assert key in data_stores.describe_key(found)
    kms.disable_key(KeyId=key)
    found = of(plan_data_stores(keys, names, clients), "input")
    assert (found.action, found.key) == ("refuse", "")
    assert "Disabled" in found.why
    assert of(plan_data_stores(keys, names, clients), "output").key == ""


@pytest.mark.parametrize(("chosen", "kept"), [(None, False), (True, True), (False, False)])
def test_earlier_versions_in_buckets_of_yours(
    clients: Clients, keys: AwsKeys, names: Names, chosen: bool | None, kept: bool
) -> None:
    keys = keys.model_copy(update={"versioning": chosen, "create_buckets": None})
    bucket = make(clients, keys.input_bucket_name)
    make(clients, keys.output_bucket_name)
    plan = plan_data_stores(keys, names, clients)
    assert ("versioning" in set_by(of(plan, "input"))) == kept
    apply(plan, clients, lambda text: None)
    assert (clients.s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled") == kept
    if kept:
        [rule] = clients.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert not plan_data_stores(keys, names, clients).changes


def test_in_words(clients: Clients, names: Names, snapshot: Callable[[str, str], None]) -> None:
    keys = KEYS.model_copy(update={"create_buckets": True, "input_bucket_name": "waves-words"})
    make(clients, "waves-words")
    missing = KEYS.model_copy(update={"create_buckets": False})
    texts = [
        describe(plan_data_stores(one, Names("waves", "main"), clients)) for one in (keys, missing)
    ]
    snapshot("data_stores.txt", "\n".join(texts))
    assert (
        data_stores.as_data(plan_data_stores(keys, names, clients))["stores"][0]["name"]
        == "waves-words"
    )


def test_the_identity_provider_is_created_once(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account has it once, for all branches. The emulator cannot add an audience to it."""
    for name, value in {**CREDENTIALS, "AWS_ACCESS_KEY_ID": ACCOUNT}.items():
        monkeypatch.setenv(name, value)
    place, said = Place(ACCOUNT, REGION), list[str]()
    for _ in range(2):
        create_provider(clients, place, "idp.example.org", "one", said.append)
    assert len(said) == 1  # nothing was left to do the second time
    arn = place.identity_provider("idp.example.org")
    found = clients.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert found["Url"].removeprefix("https://") == "idp.example.org"
    assert found["ClientIDList"] == ["one"]
