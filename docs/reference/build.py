"""Writes the pages of the reference that are read off the code: commands, keys of the files, and all APIs by type.

``python docs/reference/build.py`` writes them beside this file, ``--print`` prints them as JSON, by name. What a
program may rely on is the code's: names, types, bounds, defaults; what they mean is taken from the pages that people
write (``prose``), where these have it.
"""

import json
import sys
from pathlib import Path

import man_page
import neuron_document
from api_page import api_page
from client_page import client_page
from prose import meanings
from setting_page import setting_page

from cortex.gateway.admin.openapi import document
from cortex.gateway.data.reference.document import document as client_document

HERE = Path(__file__).resolve().parent
MANUAL = HERE.parents[1] / "packaging" / "man"

CLIENT = (
    "Every gateway serves this for programs, as OpenAPI 3.1, at `GET /openapi.json`; whoever may use the API may read "
    "it. How to point tools at it: [clients](../clients.md)."
)
ADMIN = (
    "What the fields mean: [Admin API](../admin-api.md). Every gateway serves this for programs, as OpenAPI 3.1, at "
    "`GET /admin/v1/openapi.json`."
)
NEURON = "What the fields mean: [The neuron's API](../neuron-api.md). These are the calls of a node, on port 9090."
COMMANDS = (
    "All commands with their options, as `--help` and the manual pages have them. What they are for: "
    "[operations](../operations/index.md)."
)


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    return {
        "api.md": client_page(CLIENT, client_document()),
        "admin.md": api_page("Types of the admin API", ADMIN, document(), meanings("admin-api.md")),
        "neuron.md": api_page(
            "Types of the neuron's API", NEURON, neuron_document.document(), meanings("neuron-api.md")
        ),
        "command.md": command_page(),
        "setting.md": setting_page(),
    }


def command_page() -> str:
    texts = [(MANUAL / name).read_text() for name in ("cortex.1", "cortex-neuron.8")]
    return "\n".join(["# Commands", "", COMMANDS, "", *(line for text in texts for line in man_page.markdown(text))])


def main(argv: list[str]) -> None:
    made = pages()
    if argv == ["--print"]:
        print(json.dumps(made))
        return
    for name, text in made.items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
