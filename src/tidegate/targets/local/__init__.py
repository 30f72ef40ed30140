"""The local target: folders, SQLite, a folder watch and a scheduler, on one machine."""
