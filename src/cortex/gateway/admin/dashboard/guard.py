"""Where forms may come from, whether a browser came by TLS, and where it may be sent on to. Pure.

That it has come by a name of ours is looked at before (``data/browser_rule``).
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from cortex.contract.error import Forbidden


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
