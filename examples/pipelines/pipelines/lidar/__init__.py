"""Ingest of a profiling lidar's ten-minute statistics."""
