"""A folder that this user may not look into, also where root runs the tests, whom no mode keeps out."""

import os
from pathlib import Path
from typing import Any

import pytest


def close(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the system refuse every look into a folder: at what is in it, and at the folder as ``folder/.``."""
    look = os.stat

    def stat(path: Any, **how: Any) -> os.stat_result:
        if isinstance(path, str | Path) and str(path).startswith(f"{folder}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **how)

    monkeypatch.setattr(os, "stat", stat)
