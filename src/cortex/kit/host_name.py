"""Which names in a Host header can only be meant for a machine of one's own. Pure.

Anybody may give a public name of theirs the address of somebody's machine (DNS rebinding); a browser then takes the
machine for a part of their site. Addresses, names without a dot, and names below the endings here nobody can have in
the public DNS, so no site has them.

Source: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's resolution of 2024-07-29 (internal);
``lan`` is not delegated.
"""

from collections.abc import Iterable
from ipaddress import ip_address

LOCAL_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


def host_of(text: str) -> str:
    """Return the name or address in a Host header, without the port, in lower case."""
    text = text.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def is_ours(name: str, known: Iterable[str]) -> bool:
    """Tell whether a name (see ``host_of``) is one that no foreign site can have, or one of ``known``.

    ``*.example.org`` is every name below that one.
    """
    if "." not in name or name.endswith(LOCAL_ENDINGS) or _is_address(name):
        return True
    return any(name == one.lower() or (one.startswith("*.") and name.endswith(one[1:].lower())) for one in known)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
