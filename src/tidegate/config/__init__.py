"""``pipelines_config.yml``: read it, report all its problems, and resolve it for the runtime.

    config_file = read(path)                       the model, or all problems with their lines
    answers = ...                                  what Tsdat says about config_files(model)
    resolution = resolve(config_file, answers)     the manifest, or further problems; and notes
    summary(resolution.manifest)                   what will run when

``source`` reads YAML with line numbers, ``values`` and ``aws_values`` check single values,
``models`` has the keys, ``checks`` compares values, ``repository`` looks for Tsdat's config files.
"""

from tidegate.config.models import AwsKeys, PipelinesConfig
from tidegate.config.notify_settings import NotifySettings
from tidegate.config.problems import ConfigProblems, Note, Problem
from tidegate.config.reader import FILE_NAME, ConfigFile, read
from tidegate.config.resolve import Resolution, aws_problems, config_files, resolve
from tidegate.config.summary import Row, summary

__all__ = [
    "FILE_NAME",
    "AwsKeys",
    "ConfigFile",
    "ConfigProblems",
    "Note",
    "NotifySettings",
    "PipelinesConfig",
    "Problem",
    "Resolution",
    "Row",
    "aws_problems",
    "config_files",
    "read",
    "resolve",
    "summary",
]
