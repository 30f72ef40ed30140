"""Every resource of a branch as plain records, planned purely, and as templates."""
