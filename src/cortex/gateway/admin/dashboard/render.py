"""Fills templates. Everything filled in is escaped, whoever said it; an unknown name is an error, not nothing.

May be called from several threads: what is filled in are values that nobody changes.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup

from cortex.gateway.admin.dashboard import word
from cortex.gateway.admin.dashboard.difference import marked

FOLDER = Path(__file__).parent / "template"
MAX_KEPT = 2000


class Renderer:
    """Templates of ``template/``, with the filters of ``word``."""

    def __init__(self) -> None:
        self._env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._env.filters |= {
            "mb": word.memory,
            "span": word.span,
            "coarse": word.coarse_span,
            "fine": word.fine_span,
            "pct": word.percent,
            "moment": word.moment,
            "count": word.count,
        }
        self._env.globals |= {"href": href, "kept": self.kept}
        self._kept: OrderedDict[tuple[str, str], tuple[object, Markup]] = OrderedDict()

    def render(self, template: str, filling: dict[str, Any]) -> str:
        """Return a template filled with what is given."""
        return self._env.get_template(template).render(filling)

    def kept(self, template: str, name: str, it: object) -> Markup:
        """Return a template filled with ``it``: as it was the last time, while what is shown under ``name`` is equal.

        For what is many times on a page and changes seldom: one element with an ``id``, which is sent alone when only
        it is otherwise (``difference``).
        """
        last = self._kept.get((template, name))
        if last is not None and last[0] == it:
            return last[1]
        # What a template of this environment has made is escaped already.
        html = Markup(marked(self._env.get_template(template).render(it=it)))
        self._kept[template, name] = it, html
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return html


def href(path: str, **query: object) -> str:
    """Return a path with parameters; those that are None or empty are left out."""
    given = {name: it for name, it in query.items() if it is not None and it != ""}
    return f"{path}?{urlencode(given)}" if given else path
