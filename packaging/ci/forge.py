"""Speaks to the forge whose CI runs this: ``forge.py release TAG NOTES [FILE…]`` and ``forge.py propose BRANCH TITLE``.

A release is made, or one of that tag gets new notes; files are attached to it. A proposal is a pull request onto the
default branch; one that is open already is left as it is. Gitea's API is meant, found by what its runner sets:
``GITHUB_API_URL``, ``GITHUB_REPOSITORY`` and ``FORGE_TOKEN``.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0


class Forge:
    """One repository on a forge."""

    def __init__(self, api: str, repository: str, token: str) -> None:
        self._repository = f"{api.rstrip('/')}/repos/{repository}"
        self._token = token

    def release(self, tag: str, notes: str, files: list[Path]) -> str:
        """Make a tag's release, or bring it up to date; return its page. Raises: ``urllib.error.URLError``."""
        wanted = {"tag_name": tag, "name": tag.removeprefix("v"), "body": notes, "draft": False, "prerelease": False}
        try:
            found = self._ask("GET", f"/releases/tags/{urllib.parse.quote(tag, safe='')}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            found = self._ask("POST", "/releases", wanted)
        else:
            found = self._ask("PATCH", f"/releases/{found['id']}", wanted)
        there = {asset["name"] for asset in found.get("assets") or ()}
        for file in files:
            if file.name not in there:
                query = urllib.parse.urlencode({"name": file.name})
                self._ask("POST", f"/releases/{found['id']}/assets?{query}", file.read_bytes())
        return str(found["html_url"])

    def propose(self, branch: str, title: str) -> str:
        """Open a pull request of a branch that was pushed; return its page. Raises: ``urllib.error.URLError``."""
        base = self._ask("GET", "")["default_branch"]
        for one in self._ask("GET", "/pulls?state=open&limit=50"):
            if one["head"]["ref"] == branch:
                return str(one["html_url"])
        return str(self._ask("POST", "/pulls", {"base": base, "head": branch, "title": title})["html_url"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | bytes | None = None) -> Any:
        is_file = isinstance(body, bytes)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self._repository + path, data=data, method=method)
        request.add_header("Authorization", f"token {self._token}")
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/octet-stream" if is_file else "application/json")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())


def main(argv: list[str]) -> int:
    names = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "FORGE_TOKEN")
    lacking = [name for name in names if not os.environ.get(name)]
    if lacking:
        print(f"forge: {', '.join(lacking)} is not set: this runs in the forge's CI", file=sys.stderr)
        return 1
    forge = Forge(*(os.environ[name] for name in names))
    try:
        match argv:
            case ["release", tag, notes, *files]:
                print(forge.release(tag, Path(notes).read_text(encoding="utf-8"), [Path(file) for file in files]))
            case ["propose", branch, title]:
                print(forge.propose(branch, title))
            case _:
                print("usage: forge.py release TAG NOTES [FILE...] | propose BRANCH TITLE", file=sys.stderr)
                return 2
    except urllib.error.HTTPError as error:
        print(f"forge: {error.code} {error.reason}: {error.read().decode(errors='replace')[:500]}", file=sys.stderr)
        return 1
    except urllib.error.URLError as error:
        print(f"forge: {error.reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
