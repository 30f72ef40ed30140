"""The AWS target on this machine: an emulator of AWS with a workspace deployed to it.

Everything but AWS itself is real: the templates, the functions' handler, Tsdat, S3 events, queues,
the ledger's table. ``server`` runs the emulator (MiniStack), ``deployment`` puts a workspace on it.
"""
