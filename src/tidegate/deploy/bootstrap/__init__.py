"""What holds data and lies in no stack: buckets and the ledger table."""
