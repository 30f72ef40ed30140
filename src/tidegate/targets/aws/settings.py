"""The settings of the Lambda function, from its environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.records import loads

_REQUIRED = (
    "PIPELINE_NAME",
    "CONFIG_ID",
    "TSDAT_S3_BUCKET_NAME",
    "TIDEGATE_MANIFEST",
    "TIDEGATE_TABLE",
)
_NO = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """The function's environment, read and checked."""

    manifest: Manifest
    """The function's own config and no other."""
    output_bucket: str
    """``TSDAT_S3_BUCKET_NAME``: where products and logs go."""
    table: str
    """``TIDEGATE_TABLE``: the ledger."""
    input_bucket: str = ""
    """``TIDEGATE_INPUT_BUCKET``: where raw files arrive; a VAP has none."""
    queue: str = ""
    """``TIDEGATE_QUEUE_URL``: the config's own queue."""
    repository: Path = Path("/var/task")
    """``TIDEGATE_REPOSITORY``: the root of the pipelines repository (``LAMBDA_TASK_ROOT``)."""
    work: Path = Path("/tmp/tidegate")
    """``TIDEGATE_WORK``: the folder for work folders."""
    keep_runs: timedelta | None = None
    """``TIDEGATE_KEEP_RUNS``: for how many days the records of runs are kept; always if not set."""
    memory: int | None = None
    """``AWS_LAMBDA_FUNCTION_MEMORY_SIZE``, MB."""
    keep_inputs: bool = True
    """``RETAIN_INPUT_FILES``, a variable of the deployment recipe that Tidegate replaces. Raw files
    are kept, whatever it says."""
    log_level: str = "INFO"
    """``LOG_LEVEL``."""

    @property
    def config(self) -> Config:
        """The config that the function is for."""
        return self.manifest.configs[0]

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings in an environment.

        Raises:
            ConfigurationError: a variable is missing, or the manifest cannot be used.
        """
        missing = [name for name in _REQUIRED if not environment.get(name)]
        if missing:
            raise ConfigurationError(
                f"the function's environment lacks {', '.join(missing)}",
                next="deploy it with `tidegate deploy`, which sets them",
            )
        id = f"{environment['PIPELINE_NAME']}/{environment['CONFIG_ID']}"
        root = environment.get("TIDEGATE_REPOSITORY") or environment.get("LAMBDA_TASK_ROOT")
        days = environment.get("TIDEGATE_KEEP_RUNS", "")
        memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        return cls(
            manifest=_manifest(environment["TIDEGATE_MANIFEST"], id),
            output_bucket=environment["TSDAT_S3_BUCKET_NAME"],
            table=environment["TIDEGATE_TABLE"],
            input_bucket=environment.get("TIDEGATE_INPUT_BUCKET", ""),
            queue=environment.get("TIDEGATE_QUEUE_URL", ""),
            repository=Path(root) if root else cls.repository,
            work=Path(environment.get("TIDEGATE_WORK") or cls.work),
            keep_runs=timedelta(days=float(days)) if days else None,
            memory=int(memory) if memory.isdigit() else None,
            keep_inputs=environment.get("RETAIN_INPUT_FILES", "").lower() not in _NO,
            log_level=environment.get("LOG_LEVEL", "").upper() or "INFO",
        )


def _manifest(given: str, id: str) -> Manifest:
    """The manifest, as JSON or as the path of a file of it, with the one config of that id."""
    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text("utf-8")
        manifest = loads(Manifest, text)
        return replace(manifest, configs=(manifest.config(id),))
    except KeyError as error:
        raise ConfigurationError(
            f"the manifest has no config {id}",
            next="deploy again: function and manifest are not from the same release",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "TIDEGATE_MANIFEST cannot be used",
            why=str(error),
            next="set it to the path of a manifest's JSON file, or to the JSON itself",
        ) from error
