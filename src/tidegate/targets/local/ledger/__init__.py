"""The ledger of a workspace: one SQLite file that many threads and several processes share."""

from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.seen_files import SeenFile, SeenFiles
from tidegate.targets.local.ledger.sqlite_ledger import SqliteLedger

__all__ = ["Database", "SeenFile", "SeenFiles", "SqliteLedger"]
