"""New deployments, and the demo: templates and what fills them in."""
