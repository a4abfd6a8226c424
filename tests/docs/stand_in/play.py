"""Ansible: the playbook's groups are the inventory's, and its roles are there."""

from pathlib import Path

import yaml


def ansible_playbook(words: list[str]) -> None:
    option, inventory, playbook = words
    assert option == "-i", f"{option} is unknown"
    hosts = yaml.safe_load(Path(inventory).read_text())
    groups = {name for top in hosts.values() for name in top["children"]}
    for play in yaml.safe_load(Path(playbook).read_text()):
        assert play["hosts"] in groups, f"{play['hosts']} is no group of {inventory}"
        for role in play["roles"]:
            name = role if isinstance(role, str) else role["role"]
            assert Path("roles", name, "tasks", "main.yml").is_file(), f"there is no role {name}"
    print("would play", playbook)
