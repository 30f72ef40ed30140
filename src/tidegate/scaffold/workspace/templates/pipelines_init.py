"""The pipelines, one package each."""
