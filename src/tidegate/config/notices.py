"""Each config's ``notify:``, as the model and as the runtime takes it."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.config.models import PipelinesConfig
from tidegate.config.notify_settings import NotifySettings
from tidegate.runtime.manifest import NoticeSettings


def settings_in_use(model: PipelinesConfig) -> dict[str, NotifySettings]:
    """Each config's ``notify:``: its own, else its pipeline's, else the one at the top."""
    found: dict[str, NotifySettings] = {}
    for pipeline in model.pipelines:
        for name, entry in pipeline.configs.items():
            settings = entry.notify or pipeline.notify or model.notify
            if settings is not None:
                found[f"{pipeline.name}/{name}"] = settings
    return found


def notices_in_use(model: PipelinesConfig) -> Mapping[str, NoticeSettings]:
    """What each config's ``notify:`` says about messages, without where they are sent."""
    return {config: notice_settings(found) for config, found in settings_in_use(model).items()}


def notice_settings(settings: NotifySettings) -> NoticeSettings:
    """What ``notify:`` says about messages, without where they are sent."""
    every = settings.at_most_every or NoticeSettings.at_most_every
    return NoticeSettings(tuple(settings.on or ()), int(every), settings.quiet or "")
