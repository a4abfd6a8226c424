"""Who may use the admin API: the one place where that is decided.

The front door has let in nobody but keys of scope ``admin``, and while there are none, trusted networks. Beyond that a
call that a browser makes for a web page is not served, whatever it asks: this gateway serves no pages, so every page
is a foreign one. That what changes something carries JSON: ``kit/json_call.py``.
"""

from collections.abc import Mapping

from cortex.kit.json_call import check_origin


def check_caller(headers: Mapping[str, str]) -> None:
    """Let a call in or not. Raises: Forbidden."""
    check_origin(headers)
