"""Pages as HTML: the templates, with everything from data escaped."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidegate.runtime.wording import quantity
from tidegate.web import texts
from tidegate.web.endpoints import Endpoint, Page, Parameters
from tidegate.web.links import Links
from tidegate.web.site import Site

STATIC = Path(__file__).parent / "static"


@functools.cache
def environment() -> Environment:
    """The templates. What is not defined is an error; all text is escaped."""
    made = Environment(
        loader=PackageLoader("tidegate.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=texts.clean,
    )
    made.filters.update(
        moment=texts.moment,
        duration=texts.duration,
        bytes=texts.size,
        percent=texts.percent,
        significant=texts.significant,
        breakable=texts.breakable,
        with_code=texts.with_code,
        file_name=texts.file_name,
        quantity=quantity,
    )
    made.globals.update(
        outcome_mark=texts.outcome_mark,
        about=texts.about,
        kinds=texts.KINDS,
        compared_words=texts.COMPARED,
    )
    return made


@functools.cache
def static_version() -> str:
    """Changes whenever a file in ``static/`` does, so that browsers may keep these."""
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))
    return hashlib.sha256(content).hexdigest()[:12]


def render(
    page: Page,
    site: Site,
    links: Links,
    endpoints: Mapping[str, Endpoint],
    *,
    here: str = "",
    csrf: str = "",
    parameters: Parameters | None = None,
    can_log_out: bool = False,
    static: bool = False,
) -> bytes:
    """A page as HTML. Without ``csrf`` it has no buttons.

    ``static``: it is a file, which has no forms and does not change.

    Names that are not UTF-8 are written with backslashes: a page is always valid UTF-8.
    """
    now = site.now()
    text = (
        environment()
        .get_template(page.template)
        .render(
            **page.context,
            page=page,
            site=site,
            link=links,
            here=here,
            navigation=[e for e in endpoints.values() if e.heading],
            now=now,
            ago=lambda when: texts.ago(when, now),
            csrf=csrf,
            who=parameters.who if parameters else "",
            query=parameters.query if parameters else {},
            can_log_out=can_log_out,
            static=static,
        )
    )
    return text.encode("utf-8", "backslashreplace")


def render_message(title: str, lines: Mapping[str, Any], links: Links, site_title: str) -> bytes:
    """A page with a message: an error, or the form to log in."""
    template = environment().get_template("message.html")
    text = template.render(title=title, link=links, site_title=site_title, **lines)
    return text.encode("utf-8", "backslashreplace")
