"""The ledger in one DynamoDB table. No question is answered by a scan.

Items, by partition key (``pk``) and sort key (``sk``); D(x) is a digest of x:

    RUN#first 4 digits of its key   its key               a run: its state, owner, lease and record
    R#config#state                  start#key of the run  the runs of a config, not those running
    R#state, R#state#1, …           start#key of the run  the runs of all configs
    A#config#D(subject)             key of a run          a run about that subject
    T#config#D(input)               T                     which runs took that input
    P#product key                   P                     the present product of that key
    shelf#S#kind#scale#datastream   begin#D(product key)  the same product, by time
    shelf#L#datastream              time#random           which times changed, by time of writing
    D#S#… and D#L#…                 shelf                 which shelves exist
    NAMES                           D#datastream          the kinds and scales of its products
    STATE#name                      STATE                 a small value
    W#config                        time#number#random    work that waits (``backlog``)
    B#token                         0000, 0001, …         the parts of a value too long for one item

Two indexes that hold keys only list products by datastream (``by-one``) and by config (``by-two``),
for people: they lag by moments. All else is read from the table itself, consistently.
"""

from tidegate.targets.aws.ledger.dynamo_ledger import DynamoLedger
from tidegate.targets.aws.ledger.keys import TIME_TO_LIVE
from tidegate.targets.aws.ledger.table import create_table, table_definition

__all__ = ["TIME_TO_LIVE", "DynamoLedger", "create_table", "table_definition"]
