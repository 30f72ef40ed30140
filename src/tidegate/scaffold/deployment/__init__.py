"""``tidegate new deployment``: the files of a deployment repository.

    answers = gather(folder, options, source)    the values to fill in: from options, config, git
    files = plan(folder, answers)                every file and what is in the folder
    written = files.write(force=False)           does not overwrite files

The files are in ``templates``. A name between ``@@{`` and ``}`` there is replaced by its value.
"""

from tidegate.scaffold.deployment.answers import Answers, gather
from tidegate.scaffold.deployment.files import DeploymentFiles, File, Written, plan

__all__ = ["Answers", "DeploymentFiles", "File", "Written", "gather", "plan"]
