"""Writes the dashboards beside this file: ``python packaging/grafana/build.py``; with ``--print`` only shows them.

A test sees that the files are current.
"""

import json
import sys
from pathlib import Path

import fleet
import gateway
import key
import model
import node

FOLDER = Path(__file__).with_name("dashboard")


def dashboards() -> dict[str, str]:
    """Return the text of each file by its name."""
    made = [one.made() for one in (fleet, model, node, gateway, key)]
    return {f"{one['uid']}.json": json.dumps(one, indent=2, ensure_ascii=False) + "\n" for one in made}


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(json.dumps(dashboards()))
    else:
        for name, text in dashboards().items():
            (FOLDER / name).write_text(text)
