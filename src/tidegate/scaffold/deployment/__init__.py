"""``tidegate new deployment``: what an organization keeps next to its pipelines repository.

    answers = gather(folder, options, source)    what the files are to say: options, config, git
    kit = plan(folder, answers)                  every file, beside what is there; changes nothing
    written = kit.write(force=False)             nothing that is there is overwritten

The files are in ``templates``; what is written between ``@@{`` and ``}`` there is filled in.
"""

from tidegate.scaffold.deployment.answers import Answers, gather
from tidegate.scaffold.deployment.files import File, Kit, Written, plan

__all__ = ["Answers", "File", "Kit", "Written", "gather", "plan"]
