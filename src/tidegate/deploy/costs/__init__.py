"""Estimates the monthly cost of a branch."""
