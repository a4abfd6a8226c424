"""What is done on a machine of ``machine.py``, and what is seen there. Runs as root, below its systemd.

    python inside.py SCENARIO FILE

Each scenario returns what it has seen, as plain data for the test to judge.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNITS = Path("/run/systemd/system")
STORE = Path("/etc/credstore")
PATHS = "/usr/lib/python3.14/site-packages:/usr/local/library"
PYTHON = sys.executable
LIMIT_S = 60.0
TOKEN = "s3cret"
GROUPS = "g video -\ng render -\ng systemd-journal -\n"
DROP_IN = f"""\
[Unit]
DefaultDependencies=no
[Service]
Environment=PYTHONPATH={PATHS} PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/usr/local/python/lib
StandardOutput=append:/run/said
StandardError=inherit
"""


def run(*command: str, **more: Any) -> str:
    """Run a program; return what it says, whatever comes of it."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    print("$", *command, "->", done.returncode, done.stdout, flush=True)
    return done.stdout.strip()


def systemctl(*words: str) -> str:
    return run("systemctl", "--no-ask-password", *words)


def shown(unit: str, key: str) -> str:
    return systemctl("show", "--value", f"--property={key}", unit)


def until(look: Callable[[], Any]) -> Any:
    """Look until there is something to see; return it, or what is there at the end of all patience."""
    end_s = time.monotonic() + LIMIT_S
    while not (seen := look()) and time.monotonic() < end_s:
        select.select([], [], [], 0.05)
    return seen


def prepare() -> None:
    """Have the packages' users, and the daemons run by the Python of the tests."""
    run("systemd-sysusers", "-", input=GROUPS)
    run("systemd-sysusers", "cortex.conf", "cortex-neuron.conf")
    for name, user in (("cortex.toml", "cortex"), ("models.toml", "cortex"), ("neuron.toml", "cortex-neuron")):
        shutil.chown(f"/etc/cortex/{name}", group=user)
    for name, user in (("conf.d", "cortex"), ("neuron.d", "cortex-neuron"), ("engine", "cortex-neuron")):
        shutil.chown(f"/etc/cortex/{name}", group=user)
    drop_in(
        "cortex.service",
        f"{DROP_IN}ExecStart=\nExecStart={PYTHON} -P -m cortex serve --config /etc/cortex/cortex.toml\n",
    )
    module = f"{PYTHON} -P -m cortex.cli.neuron --config /etc/cortex/neuron.toml"
    drop_in("cortex-neuron.service", f"{DROP_IN}ExecStart=\nExecStart={module}\n")
    drop_in("cortex-engine@.service", DROP_IN)
    STORE.mkdir(mode=0o700, exist_ok=True)
    systemctl("daemon-reload")


def drop_in(unit: str, text: str, name: str = "test") -> None:
    folder = UNITS / f"{unit}.d"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.conf").write_text(text)


def said() -> str:
    file = Path("/run/said")
    return file.read_text() if file.exists() else ""


def asked(url: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
    """Return status and body of an answer; 0 for none."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=LIMIT_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None


def engine() -> Any:
    """Run an engine that makes code while it runs, one without a command, and one that nobody has described."""
    makes_code = (
        "import mmap, os, sys, signal; mmap.mmap(-1, 4096, prot=7); print(sys.argv, os.environ['HF_HOME'], flush=True)"
    )
    tries = "print([os.access(path, os.R_OK) for path in ('/etc/cortex', '/var/lib/cortex-neuron')], flush=True)"
    command = f"""{PYTHON} -c "{makes_code}; {tries}; signal.pause()" 'two words' --port 8188"""
    folder = Path("/etc/cortex/engine")
    (folder / "art.env").write_text(f"ENGINE_COMMAND={command}\nHF_HOME=/srv/hub\n")
    (folder / "mute.env").write_text("HF_HOME=/srv/hub\n")
    Path("/var/lib/cortex-neuron").mkdir(exist_ok=True)
    systemctl("start", "cortex-engine@art.service")
    until(lambda: "[False" in said())
    pid = shown("cortex-engine@art.service", "MainPID")
    found = {
        "state": shown("cortex-engine@art.service", "ActiveState"),
        "owner": Path(f"/proc/{pid}").owner(),
        "where": os.readlink(f"/proc/{pid}/cwd"),
        "files": shown("cortex-engine@art.service", "EnvironmentFiles"),
        "undescribed": systemctl("start", "cortex-engine@none.service"),
    }
    systemctl("start", "cortex-engine@mute.service")
    until(lambda: "ENGINE_COMMAND=" in said())
    return {**found, "said": said()}


def secret() -> Any:
    """Start the gateway without any secret, with some, and with one that is encrypted."""
    systemctl("start", "cortex.service")
    bare = (shown("cortex.service", "ActiveState"), sorted(path.name for path in Path("/var/lib/cortex").glob("*.db")))
    systemctl("stop", "cortex.service")
    (STORE / "cortex.store-url").write_text("sqlite:////var/lib/cortex/plain.db\n")
    (STORE / "cortex.store-url").chmod(0o600)
    command = (PYTHON, "-P", "-m", "cortex", "check")
    check = lambda: run(*command, env={**os.environ, "PYTHONPATH": PATHS}, cwd="/")  # noqa: E731
    before = check()
    systemctl("start", "cortex.service")
    plain = (shown("cortex.service", "ActiveState"), Path("/var/lib/cortex/plain.db").exists())
    systemctl("stop", "cortex.service")
    (STORE / "cortex.store-url").unlink()
    target = "/etc/credstore.encrypted/cortex.store-url"
    Path(target).parent.mkdir(mode=0o700, exist_ok=True)
    text = "sqlite:////var/lib/cortex/sealed.db\n"
    run("systemd-creds", "encrypt", "--with-key=host", "--name=cortex.store-url", "-", target, input=text)
    drop_in("cortex.service", "[Service]\nLoadCredentialEncrypted=cortex.store-url\n", "sealed")
    systemctl("daemon-reload")
    systemctl("start", "cortex.service")
    sealed = (shown("cortex.service", "ActiveState"), Path("/var/lib/cortex/sealed.db").exists())
    during = check()
    return {"bare": bare, "before": before, "plain": plain, "sealed": sealed, "during": during, "said": said()}


MODEL = "lab/m"
ENGINES = f"""\
[[harnesses]]
name = "command"
cmd = "{PYTHON} -m http.server --bind ${{HOST}} --directory /usr/share/cortex ${{PORT}}"
ready_path = "/"
"""


def loaded(neuron: str) -> Any:
    """Return the model as the neuron tells of it, once it is loaded."""

    def look() -> Any:
        models = asked(f"{neuron}/models")[1] or []
        return next((each for each in models if each["id"] == MODEL and each["status"] == "loaded"), None)

    return until(look)


def engine_pids() -> list[int]:
    """Return the processes that carry what a neuron gives to its engines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(b"CORTEX_INSTANCE=") for word in words):
            found.append(int(entry.name))
    return sorted(found)


def survive() -> Any:
    """Have an engine below a neuron that is restarted, stopped and removed."""
    Path("/etc/cortex/neuron.d/engines.toml").write_text(ENGINES)
    (STORE / "cortex.fleet-token").write_text(TOKEN)
    neuron, preun = "http://127.0.0.1:9090", str(Path(sys.argv[2]).with_name("preun"))
    systemctl("start", "cortex-neuron.service")
    stranger = asked(f"{neuron}/models", token=None)[0]
    body = {"model_id": MODEL, "harness": "command", "source": "/usr/share/cortex", "vram_mb": 64}
    order = asked(f"{neuron}/models/load", body)
    before, engines = loaded(neuron), engine_pids()
    environ = Path(f"/proc/{engines[0]}/environ").read_bytes().decode() if engines else ""
    group = Path(f"/proc/{engines[0]}/cgroup").read_text() if engines else ""
    main = shown("cortex-neuron.service", "MainPID")
    systemctl("restart", "cortex-neuron.service")
    after, restarted, main_after = loaded(neuron), engine_pids(), shown("cortex-neuron.service", "MainPID")
    systemctl("stop", "cortex-neuron.service")
    stopped = (shown("cortex-neuron.service", "ActiveState"), engine_pids())
    systemctl("kill", "cortex-neuron.service")
    killed = until(lambda: not engine_pids())
    systemctl("start", "cortex-neuron.service")
    again = asked(f"{neuron}/models")[1]
    asked(f"{neuron}/models/load", body)
    loaded(neuron)
    (Path("/etc/cortex/engine") / "art.env").write_text("ENGINE_COMMAND=/bin/sleep infinity\n")
    systemctl("enable", "--now", "cortex-engine@art.service")
    wanted = Path("/etc/systemd/system/multi-user.target.wants/cortex-engine@art.service")
    enabled, removed_from = wanted.is_symlink(), engine_pids()
    return {
        "stranger": stranger,
        "order": order,
        "before": before,
        "after": after,
        "engines": engines,
        "is_told": "CREDENTIALS_DIRECTORY" in environ,
        "group": group,
        "restarted": restarted,
        "main": [main, main_after],
        "stopped": stopped,
        "killed": killed,
        "again": again,
        "enabled": enabled,
        "removed_from": removed_from,
        "upgraded": (run("sh", preun, "1"), engine_pids()),
        "removed": (run("sh", preun, "0"), until(lambda: not engine_pids())),
        "units": [shown(unit, "ActiveState") for unit in ("cortex-neuron.service", "cortex-engine@art.service")],
        "still_enabled": wanted.is_symlink(),
        "said": said(),
    }


def page() -> Any:
    """Do what a page says, on a host where nothing was started yet; return what each command said, and its code."""
    for name, module in (("cortex", "cortex"), ("cortex-neuron", "cortex.cli.neuron")):
        program = Path("/usr/local/bin") / name
        variables = f"PYTHONPATH={PATHS} LD_LIBRARY_PATH=/usr/local/python/lib"
        program.write_text(f'#!/bin/sh\n{variables} exec {PYTHON} -B -P -m {module} "$@"\n')
        program.chmod(0o755)
    found, env = [], {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in json.loads(Path(sys.argv[2]).with_name("commands").read_text()):
        words = command.split()
        if words[:2] == ["sudo", "-u"]:
            words = ["setpriv", f"--reuid={words[2]}", f"--regid={words[2]}", "--init-groups", *words[3:]]
        elif words[0] == "sudo":
            words = words[1:]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd="/")
        print("$", *words, "->", done.returncode, done.stdout, flush=True)
        found.append((command, done.returncode, done.stdout))
        key = next((word for word in done.stdout.split() if word.startswith("ctx-")), None)
        env |= {"CORTEX_API_KEY": key} if key else {}
    return {"said": found, "log": said()}


SCENARIOS = {"engine": engine, "page": page, "secret": secret, "survive": survive}

if __name__ == "__main__":
    prepare()
    found = SCENARIOS[sys.argv[1]]()
    Path(sys.argv[2]).write_text(json.dumps(found))
