"""Draft a VAP over datastreams that exist: means over an interval, a schedule, a test."""
