"""Docker: files, services, profiles, variables and build arguments are there; what runs in a container, runs here."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

IMAGES = {"cortex": "gateway", "cortex-neuron": "neuron"}
OF_TESTS = {"CORTEX_URL", "CORTEX_API_KEY"}


def docker(words: list[str]) -> None:
    verb, *rest = words
    {"build": build, "compose": compose, "run": run}[verb](rest)


def build(words: list[str]) -> None:
    given = dict(zip(words[0:-1:2], words[1:-1:2], strict=True))
    assert set(given) <= {"-t", "-f", "--build-arg"}, f"{set(given)} has unknown ones"
    text = Path(given["-f"]).read_text()
    assert (Path(words[-1]) / "packaging").is_dir(), "images are built from the top of the repository"
    if "--build-arg" in given:
        name = given["--build-arg"].partition("=")[0]
        assert re.search(rf"^ARG {name}\b", text, re.MULTILINE), f"nothing asks for {name}"
    images = Path("packaging/container/compose.yaml").read_text()
    assert f"image: {given['-t']}:latest" in images, "Compose has another name for it"
    print("would build", given["-t"])


def run(words: list[str]) -> None:
    """Run what an image has as its entry point, beside the file that would be mounted."""
    words = list(words)
    while words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-v", "--gpus"):
            value = words.pop(0)
            assert option == "--gpus" or Path(value.split(":")[0]).is_file(), f"{value} is not there"
        else:
            assert option == "--rm", f"{option} is unknown"
    text = Path(f"packaging/container/{IMAGES[words[0]]}.Containerfile").read_text()
    assert re.search(rf'^ENTRYPOINT \[.*"{words[0]}"\]', text, re.MULTILINE), "it starts another program"
    os.execvp(words[0], words)


def compose(words: list[str]) -> None:
    words, files, profiles = list(words), [], []
    while words[0].startswith("-"):
        option, value = words.pop(0), words.pop(0)
        {"-f": files, "--profile": profiles}[option].append(value)
    texts = [Path(file).read_text() for file in files]
    services: dict[str, Any] = {}
    for text in texts:
        services |= yaml.safe_load(text)["services"]
    offered = {name for one in services.values() for name in one.get("profiles", [])}
    assert set(profiles) <= offered, f"{profiles} is none of {offered}"
    said = {name for name in os.environ if name.startswith("CORTEX_")} - OF_TESTS
    unread = {name for name in said if not any(f"${{{name}" in text for text in texts)}
    assert not unread, f"nothing reads {unread}"
    verb, *rest = words
    if verb == "exec":
        assert rest[0] in services, f"there is no service {rest[0]}"
        os.execvp(rest[1], rest[1:])
    assert verb == "up", f"{verb} is unknown"
    assert set(rest) <= {"--build", "--detach"}, f"{rest} has unknown ones"
    print("would start", *services)
