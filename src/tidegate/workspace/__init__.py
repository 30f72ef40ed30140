"""What commands work on: config file, repository, environment, and a session on a target."""
