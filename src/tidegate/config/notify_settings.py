"""The keys below ``notify:`` of pipelines_config.yml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tidegate.config import values
from tidegate.config.keys import Duration, Keys, key


class NotifySettings(Keys):
    """Who gets messages when something goes wrong."""

    to: list[Annotated[str, BeforeValidator(values.secret_source)]] = Field(
        description="Where the addresses are: names of environment variables, or file:PATH."
        " Addresses themselves hold passwords and do not belong into this file.",
        examples=[["TIDEGATE_NOTIFY"]],
        min_length=1,
    )
    on: (
        list[
            Annotated[
                Literal["failure", "silence", "recovery", "disk", "empty"],
                BeforeValidator(values.choice("failure", "silence", "recovery", "disk", "empty")),
            ]
        ]
        | None
    ) = key("What to tell; everything, when it is left out.", ["failure", "recovery"])
    at_most_every: Duration | None = key(
        "The shortest time between two messages; what happens in between is in the next one.",
        "1h",
        default=3600,
    )
    quiet: Annotated[str, BeforeValidator(values.quiet)] | None = key(
        "Send nothing between these times, in UTC; the message comes afterwards.", "22:00-06:00"
    )
