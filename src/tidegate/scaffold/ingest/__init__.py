"""Draft an ingest from sample raw files: read them, say what is in them, write the pipeline."""
