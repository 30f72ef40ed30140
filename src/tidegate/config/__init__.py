"""``pipelines_config.yml``: read it, say all that is wrong with it, resolve it for the runtime.

    reading = read(path)                        the model, or every problem with its line
    answers = ...                               what Tsdat says of each of config_files(model)
    resolution = resolve(reading, answers)      the manifest, or further problems; and notes
    summary(resolution.manifest)                what will run when

``source`` reads YAML with lines; ``values`` knows what one value may be, ``models`` the keys,
``checks`` what values must be to each other, ``repository`` where the config files are.
"""

from tidegate.config.models import AwsKeys, PipelinesConfig
from tidegate.config.problems import Note, Problem
from tidegate.config.reader import FILE_NAME, Reading, problems_error, read
from tidegate.config.resolve import Resolution, aws_problems, config_files, resolve
from tidegate.config.summary import Row, summary

__all__ = [
    "FILE_NAME",
    "AwsKeys",
    "Note",
    "PipelinesConfig",
    "Problem",
    "Reading",
    "Resolution",
    "Row",
    "aws_problems",
    "config_files",
    "problems_error",
    "read",
    "resolve",
    "summary",
]
