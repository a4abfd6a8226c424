"""Speaks HTTP and JSON to a gateway or a neuron on behalf of one command; blocking, from the standard library.

A command makes one or two calls and ends, so there is nothing to pool. Every failure comes out as a sentence that says
what to look at; a status that is an answer (``GET /health`` says 503 with its usual body) is passed on when expected.
"""

import ssl
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from cortex.contract.error import ConfigError, UpstreamBroken, UpstreamError, UpstreamUnreachable
from cortex.kit.json_fault import NOT_JSON

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 << 20
"""More than any answer of ours; a server of another kind may never come to an end."""


class Server:
    """One daemon at ``url`` (base, with or without the ``/v1`` of SDKs); ``what`` is its name in sentences."""

    def __init__(
        self,
        url: str,
        *,
        what: str,
        option: str,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``tls``: for ``https``; None: as the system does."""
        if not _is_url(url):
            raise ConfigError(f"{option}: expected an http(s) URL, got '{url}'")
        self._url = url.rstrip("/").removesuffix("/v1")
        self._what = what
        self._option = option
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._tls = tls

    def get(self, path: str, expected: Collection[int] = (200,), *, holds: Collection[str] = ()) -> Any:
        """Return the decoded answer, an object with the members ``holds`` when there are any.

        Raises: UpstreamUnreachable, UpstreamBroken, UpstreamError.
        """
        answer = self._call("GET", path, None, expected)
        if holds and not (isinstance(answer, dict) and answer.keys() >= set(holds)):
            raise UpstreamBroken(f"{self._url}{path} has no {' and '.join(holds)}: is this {self._what} of cortex?")
        return answer

    def post(self, path: str, body: object, expected: Collection[int] = (200, 202)) -> Any:
        """Send ``body`` as JSON, return the decoded answer. Raises as :meth:`get`."""
        return self._call("POST", path, msgspec.json.encode(body), expected)

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the lines of an answer that goes on, without their ends. Raises as :meth:`get`."""
        try:
            with self._open("GET", path, None) as answer:
                for line in answer:
                    yield line.rstrip(b"\r\n")
        except urllib.error.HTTPError as exc:
            with exc:
                raise UpstreamError(
                    f"{self._what} at {self._url} answered {exc.code}: {_message(exc.read(MAX_ANSWER_BYTES))}"
                ) from exc
        except (OSError, HTTPException) as exc:
            raise UpstreamUnreachable(self._unreachable(exc)) from exc

    def _open(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(self._url + path, data=body, method=method)
        request.add_header("content-type", "application/json")
        if self._api_key:
            request.add_header("authorization", f"Bearer {self._api_key}")
        return self._opener.open(request, timeout=self._timeout_s)

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        """One for all calls: to read the system's certificates takes longer than a call."""
        # No proxies: both daemons live on the operator's own network.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self._url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=self._tls or ssl.create_default_context()))
        return urllib.request.build_opener(*handlers)

    def _call(self, method: str, path: str, body: bytes | None, expected: Collection[int]) -> Any:
        try:
            with self._open(method, path, body) as answer:
                return self._decoded(answer.read(MAX_ANSWER_BYTES + 1), path)
        except urllib.error.HTTPError as exc:
            with exc:
                said = exc.read(MAX_ANSWER_BYTES)
            if exc.code in expected:
                return self._decoded(said, path)
            raise UpstreamError(f"{self._what} at {self._url} answered {exc.code}: {_message(said)}") from exc
        except (OSError, HTTPException) as exc:
            raise UpstreamUnreachable(self._unreachable(exc)) from exc

    def _unreachable(self, exc: Exception) -> str:
        reason = getattr(exc, "reason", exc)
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        hint = f"is it running there? Name another with {self._option}"
        return f"no answer from {self._what} at {self._url} ({words}); {hint}"

    def _decoded(self, body: bytes, path: str) -> Any:
        if len(body) > MAX_ANSWER_BYTES:
            raise UpstreamBroken(f"{self._url}{path} does not come to an end: is this {self._what} of cortex?")
        try:
            return msgspec.json.decode(body)
        except NOT_JSON as exc:
            raise UpstreamBroken(f"{self._url}{path} is no JSON: is this {self._what} of cortex?") from exc


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def gateway(url: str, env: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> Server:
    """Return the gateway at ``url``, with the credential of ``$CORTEX_API_KEY``, else of ``$CORTEX_API_KEY_FILE``.

    Raises: ConfigError for one that cannot be used.
    """
    return Server(url, what="the gateway", option="--url", api_key=_credential(env), timeout_s=timeout_s)


def neuron(url: str, env: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> Server:
    """Return the neuron at ``url``, with the credential of ``$CORTEX_API_KEY``.

    Raises: ConfigError for one that cannot be used.
    """
    return Server(url, what="the neuron", option="--neuron", api_key=_shown_key(env), timeout_s=timeout_s)


def _credential(env: Mapping[str, str]) -> str | None:
    path = env.get("CORTEX_API_KEY_FILE")
    if env.get("CORTEX_API_KEY") or not path:
        return _shown_key(env)
    try:
        secret = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: the key cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    if not secret or not _is_key(secret):
        raise ConfigError(f"{path}: expected one key and nothing else")
    return secret


def _shown_key(env: Mapping[str, str]) -> str | None:
    """Return what ``$CORTEX_API_KEY`` holds. Raises: ConfigError for what no header can carry."""
    secret = env.get("CORTEX_API_KEY", "").strip()
    if not _is_key(secret):
        raise ConfigError("CORTEX_API_KEY: expected one key and nothing else")
    return secret or None


def _is_key(secret: str) -> bool:
    return secret.isascii() and secret.isprintable() and " " not in secret


def _message(body: bytes) -> str:
    """Return the sentence of an error answer ``{"error": {"message": …}}``, else the beginning of the body."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (*NOT_JSON, KeyError, TypeError):
        return body[:200].decode(errors="replace").strip() or "(no words)"
