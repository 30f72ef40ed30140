"""Creates or adopts what holds a branch's data: buckets and the ledger table."""
