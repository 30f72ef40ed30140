"""The design of a branch on AWS: its resources as plain records and as templates."""
