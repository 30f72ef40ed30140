"""What all parts of a deployment share: the branch, its releases, links to the console."""
