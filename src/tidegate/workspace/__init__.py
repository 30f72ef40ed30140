"""What commands work on: the config file, the pipelines repository, its Python environment, and a
session, which gives access to a target (this machine or AWS).
"""
