"""What the tests of the config share: files that are read, and a repository that they fit to."""

from pathlib import Path

from tidegate.config import ConfigFile, read

VALID = """\
pipelines:
- name: lidar
  type: Ingest
  trigger: S3
  configs:
    humboldt:
      input_bucket_path: lidar/humboldt/
      config_file_path: pipelines/lidar/config/pipeline_humboldt.yaml
    morro:
      input_bucket_path: lidar/morro/
      config_file_path: pipelines/lidar/config/pipeline_morro.yaml
- name: lidar_vap
  type: VAP
  trigger: Cron
  schedule: Hourly
  configs:
    humboldt:
      config_file_path: pipelines/lidar_vap/config/pipeline.yaml
"""
FILES = (
    "pipelines/lidar/config/pipeline_humboldt.yaml",
    "pipelines/lidar/config/pipeline_morro.yaml",
    "pipelines/lidar/config/dataset.yaml",
    "pipelines/lidar_vap/config/pipeline.yaml",
)
AWS = """\
github_org: tsdat
pipelines_repo_name: pipeline-template
aws_repo_name: aws-template
account_id: "012345678901"
region: us-west-2
input_bucket_name: tsdat-input
output_bucket_name: tsdat-output
create_buckets: True
github_codestar_arn: arn:aws:codestar-connections:us-west-2:012345678901:connection/5b0a-11
"""


class Workspace:
    """A folder with a pipelines repository, and a pipelines_config.yml as each test wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "pipelines_config.yml"
        self.repository = folder / "repository"
        for name in FILES:
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            (self.repository / name).touch()

    def read(self, content: str | bytes, **options: object) -> ConfigFile:
        raw = content.encode() if isinstance(content, str) else content
        self.file.write_bytes(raw)
        return read(self.file, **options)

    def said(self, content: str | bytes) -> list[tuple[int, str, str]]:
        """The problems: line, what, fix."""
        reading = self.read(content)
        assert (reading.model is None) == bool(reading.problems)
        return [(p.line, p.what, p.fix) for p in reading.problems]

    def valid(self, *changes: tuple[str, str], before: str = "") -> str:
        """The valid file with some texts replaced, and lines before it."""
        content = VALID
        for old, new in changes:
            assert old in content, old
            content = content.replace(old, new, 1)
        return before + content
