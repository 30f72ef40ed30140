"""Code that several pipelines share."""
