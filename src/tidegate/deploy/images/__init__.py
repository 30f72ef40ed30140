"""Images: what goes into them, building, the registry."""
