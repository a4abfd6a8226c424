"""What of the pages is not run, and why. An entry that matches nothing in the pages any more fails its test."""

OF_THE_SYSTEM = {
    "packages": "apt apt-get dnf rpm rpmbuild copr-cli pip pipx uv git python3",
    "services": "systemctl journalctl systemd-analyze systemd-run promtool nginx psql pg_dump",
    "containers": "docker podman kubectl helm ansible ansible-playbook",
    "hosts": "ssh scp rsync firewall-cmd semanage restorecon ausearch nvidia-smi dmesg lspci ss",
    "shell": "awk base64 bash cat cd echo find grep head ls sed sh sort tail tee",
    "files": "chmod chown cp install kill ln mkdir mv rm tar useradd usermod",
}
"""Programs that change or ask the system, another host or the network; their command lines are read, and not run."""

NEVER_RUN = {name for names in OF_THE_SYSTEM.values() for name in names.split()}

CLIENTS = {
    "aider": "its packages are large, and it wants a model that makes sense",
    "claude": "tests/integration/client runs it, where it is installed",
    "cn": "comes by npm",
    "codex": "tests/integration/client runs it, where it is installed",
    "open-webui": "its packages are large; docs/clients.md says with which version it was tried",
    "opencode": "comes by npm",
}
"""Programs of others that are pointed at the gateway."""

NOT_RUN = {
    r"^make \w+": "installs, and runs for long: make itself says whether it would (-n)",
    r"^(\S+/)?cortex serve": "runs until it is stopped: the fleet of these tests is made of it",
    r"^(\S+/)?cortex-neuron$": "runs until it is stopped: the fleet of these tests is made of it",
    r"^sudo ": "there is no sudo where tests run; the rest of the line is read",
    r"^cortex top( --url \S+)?( |$)(?!.*--once)": "needs a terminal; its own tests have one",
    r"^cortex replay .*…": "is a piece of a line; docs/replay.md has it whole",
}
"""Commands that would be run, by what they look like."""

PYTHON_NOT_RUN = {
    "langchain_openai": "not installed for tests",
    "litellm": "not installed for tests",
    "llama_index": "not installed for tests",
    "contextlib": "a piece of a class, which tests/conformance has whole",
}
"""Python blocks that are only compiled, by what they begin to import or use."""

NOT_READ = {
    "js": "there is no JavaScript here",
    "nginx": "there is no nginx here",
    "promql": "tests/arch/test_operating.py reads queries of the rules and dashboards; this is prose's example",
    "text": "is what is answered, or part of a file",
    "": "is what is answered, or part of a file",
}
"""Languages of blocks that no test of these reads."""
