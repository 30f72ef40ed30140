"""A new workspace: a pipelines repository with its config, ready for the first pipeline."""

from tidegate.scaffold.workspace.create import create_workspace, workspace_files

__all__ = ["create_workspace", "workspace_files"]
