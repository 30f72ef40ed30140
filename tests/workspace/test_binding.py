"""The ledger and the outputs that it describes know each other."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tidegate.errors import LedgerError
from tidegate.runtime.binding import judge
from tidegate.runtime.runs import Product, Run
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.binding import MARK, check_folder, describe_folder


@pytest.mark.parametrize(
    ("ids", "recorded", "present", "expected"),
    [
        (("a", "a"), True, True, "bound"),
        (("a", "a"), False, False, "bound"),
        (("", ""), False, False, "new"),
        (("a", ""), False, False, "new"),
        (("", ""), True, True, "new"),
        (("a", "b"), True, True, "new"),
        (("a", "a"), True, False, "emptied"),
        (("a", ""), True, False, "other outputs"),
        (("a", "b"), True, False, "other outputs"),
        (("", ""), True, False, "other outputs"),
        (("", "b"), False, False, "other ledger"),
        (("a", "b"), False, False, "other ledger"),
    ],
)
def test_judgement(ids, recorded, present, expected):
    assert judge(*ids, recorded=recorded, present=present) == expected


@pytest.fixture
def ledger(tmp_path):
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        yield ledger


def record(ledger, key):
    """A product is put on record."""
    now = datetime(2022, 4, 5, tzinfo=timezone.utc)
    run = Run("tiny/one", arguments=(key,))
    claim = ledger.claim(run, owner="me", lease=timedelta(1), now=now, release="")
    made = Product(key, "data", 1, "0" * 64, run=run.key, config="tiny/one")
    ledger.finish(replace(claim.record, state="succeeded", finished=now, products=(made,)))


def test_a_folder_is_bound_and_its_products_gone_are_reported(ledger, tmp_path):
    output, said = tmp_path / "output", []
    check_folder(ledger, output, said.append)
    assert (output / MARK).read_text().startswith(ledger.state("outputs"))
    (output / "a.nc").write_text("a")
    record(ledger, "a.nc")
    check_folder(ledger, output, said.append)
    assert said == []
    (output / "a.nc").unlink()
    check_folder(ledger, output, said.append)
    assert "verify" in said[0]


def test_a_folder_that_is_not_mounted_is_not_written_to(ledger, tmp_path):
    output = tmp_path / "output"
    check_folder(ledger, output, str)
    record(ledger, "a.nc")
    other = tmp_path / "other"
    with pytest.raises(LedgerError) as caught:
        check_folder(ledger, other, str)
    assert "verify" in caught.value.next
    assert not other.exists()


def test_a_deleted_ledger_is_noticed_by_its_outputs(ledger, tmp_path):
    output, said = tmp_path / "output", []
    check_folder(ledger, output, said.append)
    with SqliteLedger(tmp_path / "new.db") as new:
        assert describe_folder(new, output) == "other ledger"
        check_folder(new, output, said.append)
        assert "adopt" in said[0]
        assert describe_folder(new, output) == "bound"
