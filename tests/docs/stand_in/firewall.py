"""firewall-cmd: services are those that are packaged."""

from tests.arch.source import ROOT

FIREWALLD = ROOT / "packaging" / "rpm" / "firewalld"


def firewall_cmd(words: list[str]) -> None:
    for word in words:
        name, _, value = word.partition("=")
        if name == "--add-service":
            assert (FIREWALLD / f"{value}.xml").is_file(), f"no package has a service {value}"
        else:
            assert word in ("--permanent", "--reload"), f"{word} is unknown"
    print("success")
