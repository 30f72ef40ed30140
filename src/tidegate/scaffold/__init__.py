"""What Tidegate writes for people: a deployment repository, and the demo."""
