"""Tidegate: run Tsdat pipelines on data as it arrives, on one machine or in AWS.

This file is imported by the pipelines' interpreter too, so it must stay free of everything but the
standard library.
"""

__version__ = "0.1.0"
