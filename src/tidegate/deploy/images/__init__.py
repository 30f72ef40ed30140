"""Plans and builds the container images of a release, named by their content."""
