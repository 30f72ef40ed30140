"""What is told of what holds data."""

import pytest

from tidegate.deploy.teardown.stores import Store


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (Store("bucket", "raw", "input bucket", True, 1), "1 object"),
        (Store("bucket", "raw", "input bucket", True, 1200, more=True), "1,200 objects and more"),
        (Store("table", "ledger", "ledger table", True, 1), "1 record"),
        (Store("table", "ledger", "ledger table", True), "empty"),
        (Store("bucket", "raw", "input bucket", False), "does not exist"),
    ],
)
def test_what_is_in_a_store_in_words(store, said):
    assert store.contents == said
