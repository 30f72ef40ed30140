"""What all parts of a deployment share: branch, account, recorded releases, console links."""
