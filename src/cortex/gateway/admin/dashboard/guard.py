"""What a browser must show before it sees or does anything: the host it meant, a session, and for forms a token.

Decides; sets no cookies and sends nothing. Pure.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from cortex.contract.error import Forbidden

LOCAL_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
"""Names that nobody can have in the public DNS, or only for hosts of one's own network."""


def check_host(headers: Mapping[str, str], known: Iterable[str]) -> None:
    """Raise Forbidden for a name that a foreign page may have given to this gateway's address (DNS rebinding).

    Asked for only while nobody has to sign in; afterwards a foreign name has no session. ``known``: this host's names,
    and those that its operator has set; ``*.example.org`` is every name below that one.
    """
    name = host_of(headers.get("host", ""))
    if _is_address(name) or "." not in name or name.endswith(LOCAL_ENDINGS):
        return
    for one in known:
        if name == one.lower() or (one.startswith("*.") and name.endswith(one[1:].lower())):
            return
    raise Forbidden(
        f"The dashboard is not shown under the name {name[:100]!r} while nobody has to sign in: anybody can have a "
        "name that leads here. Use the address, add the name to allowed_hosts in [gateway], or make a key: "
        "cortex keys create NAME --admin"
    )


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise Forbidden for what a page that is not ours sends."""
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise Forbidden(f"Another page has sent this (Sec-Fetch-Site: {site[:40]}): it is not done.")
    origin = headers.get("origin")
    if origin is None:
        return
    ours = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").lower()} - {""}
    if urlsplit(origin).netloc.lower() not in ours:
        raise Forbidden(f"Another page has sent this (Origin: {origin[:100]}): it is not done.")


def is_encrypted(headers: Mapping[str, str], scheme: str) -> bool:
    """Tell whether the browser came by TLS, here or at a proxy before: then its cookies stay with TLS."""
    forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return scheme == "https" or forwarded == "https" or headers.get("origin", "").startswith("https://")


def way_back(path: str) -> str:
    """Return where to go on after signing in: a page of ours, whatever the address said."""
    parts = urlsplit(path)
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/dashboard/")
    is_plain = path.isprintable() and "\\" not in path and "//" not in parts.path and ".." not in parts.path
    return path if is_ours and is_plain and len(path) <= 2000 else "/dashboard/"


def host_of(text: str) -> str:
    """Return the name or address in a Host header, without the port, in lower case."""
    text = text.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
