"""Fills templates. Everything filled in is escaped, whoever said it; an unknown name is an error, not nothing."""

from pathlib import Path
from typing import Any

import jinja2
from starlette.datastructures import URL

from cortex.gateway.admin.dashboard import word

FOLDER = Path(__file__).parent / "template"


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
        self._env.globals |= {"href": href}

    def render(self, template: str, filling: dict[str, Any]) -> str:
        """Return a template filled with what is given."""
        return self._env.get_template(template).render(filling)


def href(path: str, **query: object) -> str:
    """Return a path with parameters; those that are None or empty are left out."""
    return str(URL(path).include_query_params(**{name: it for name, it in query.items() if it not in (None, "")}))
