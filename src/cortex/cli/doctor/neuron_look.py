"""Looks at one neuron from outside, step by step until one fails: its name, a connection, its answers. Judges nothing.

Changes nothing there, and holds no connection open longer than a step takes.
"""

import asyncio
import email.utils
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from cortex.cli.doctor.examination import in_thread
from cortex.contract.error import ConfigError, UpstreamError
from cortex.contract.instance import START_ID_HEADER, InstanceReport
from cortex.contract.node import Discovery, Health
from cortex.kit.clock import Clock
from cortex.kit.fleet_token import fleet_token
from cortex.kit.http_client import HttpClient, HttpReply
from cortex.kit.json_fault import NOT_JSON
from cortex.kit.tls import ClientTls, TlsFiles

T = TypeVar("T")


class NeuronLook(NamedTuple):
    """What was seen. A ``why_`` is why a step failed, and those after it were not made; empty where it went well.

    ``is_token_hidden``: this user may not read it, though another may.

    ``status``: of ``GET /discovery``, with what it ``said`` where that is not 200. ``skew_s``: the neuron's clock less
    this one, within ``took_s`` and a second.
    """

    name: str
    endpoint: str
    has_token: bool = False
    why_no_token: str = ""
    is_token_hidden: bool = False
    addresses: tuple[str, ...] = ()
    why_no_name: str = ""
    why_no_connection: str = ""
    why_no_neuron: str = ""
    status: int = 0
    said: str = ""
    discovery: Discovery | None = None
    health: Health | None = None
    models: tuple[InstanceReport, ...] = ()
    skew_s: float | None = None
    took_s: float = 0.0


async def look_at(
    name: str,
    endpoint: str,
    token_file: str | None,
    http: HttpClient,
    clock: Clock,
    step_s: float,
    files: TlsFiles | None = None,
    env: Mapping[str, str] | None = None,
) -> NeuronLook:
    """Look at the neuron of a node; each of four steps has ``step_s``. ``files``: for TLS; None: as the system does.

    ``env``: may have the credential.
    """
    token, why, is_hidden = _token(token_file, env or {})
    look = NeuronLook(name, endpoint, has_token=bool(token), why_no_token=why, is_token_hidden=is_hidden)
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(step_s):
            look = look._replace(addresses=await in_thread(_addresses, host, port))
    except (OSError, UnicodeError) as exc:
        return look._replace(why_no_name=_words(exc, step_s))
    try:
        async with asyncio.timeout(step_s):
            await _connect(look.addresses, port)
    except OSError as exc:
        return look._replace(why_no_connection=_words(exc, step_s))
    try:
        tls = ClientTls(files).current if files is not None else None
    except ConfigError as exc:
        return look._replace(why_no_neuron=exc.message)
    return await _asked(look, token, clock, Asking(http, step_s, tls))


def _addresses(host: str, port: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


async def _connect(addresses: tuple[str, ...], port: int) -> None:
    """Connect to the first address that takes it. Raises: OSError of the last one that does not."""
    for last, address in enumerate(addresses, 1 - len(addresses)):
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            if not last:
                raise
        else:
            writer.close()
            return


class Asking(NamedTuple):
    """How a neuron is asked."""

    http: HttpClient
    step_s: float
    tls: ssl.SSLContext | None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> HttpReply:
        """Return its answer. Raises: UpstreamError."""
        return await self.http.request("GET", url, deadline_s=self.step_s, headers=headers, tls=self.tls)


async def _asked(look: NeuronLook, token: str, clock: Clock, asking: Asking) -> NeuronLook:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    began_s = clock.now_s()
    try:
        live = await asking.get(f"{look.endpoint}/livez")
        took_s = clock.now_s() - began_s
        look = look._replace(took_s=took_s, skew_s=_skew_s(live, clock.epoch_s() - took_s / 2))
        if live.status != 200 or START_ID_HEADER not in live.headers:
            return look._replace(why_no_neuron=f"GET /livez answers {live.status}, and not as a neuron does")
        calls = (asking.get(f"{look.endpoint}{path}", headers) for path in ("/discovery", "/health", "/models"))
        discovery, health, models = await asyncio.gather(*calls)
    except UpstreamError as exc:
        return look._replace(why_no_neuron=exc.message)
    look = look._replace(status=discovery.status, said=_message(discovery))
    if discovery.status != 200 or health.status != 200:
        return look
    try:
        return look._replace(
            discovery=_told(discovery, Discovery),
            health=_told(health, Health),
            models=_told(models, tuple[InstanceReport, ...]),
        )
    except NOT_JSON as exc:
        return look._replace(why_no_neuron=f"its answers are not by the contract: {exc}")


def _told(reply: HttpReply, kind: Any) -> Any:
    return msgspec.json.decode(reply.body, type=kind)


def _token(file: str | None, env: Mapping[str, str]) -> tuple[str, str, bool]:
    """Return the credential, or why there is none though one is configured, and whether this user may not read it."""
    try:
        return fleet_token(file, env) or "", "", False
    except ConfigError as exc:
        return "", exc.message, isinstance(exc.__cause__, PermissionError)


def _skew_s(reply: HttpReply, now_s: float) -> float | None:
    """Return how far the peer's clock is ahead; it tells whole seconds, cut off."""
    told = reply.headers.get("date")
    try:
        return None if told is None else email.utils.parsedate_to_datetime(told).timestamp() + 0.5 - now_s
    except ValueError:
        return None


def _message(reply: HttpReply) -> str:
    if reply.status == 200:
        return ""
    try:
        return str(msgspec.json.decode(reply.body)["error"]["message"])
    except (*NOT_JSON, KeyError, TypeError):
        return reply.body[:200].decode(errors="replace").strip() or "(no words)"


def _words(exc: OSError | UnicodeError, step_s: float) -> str:
    if isinstance(exc, TimeoutError):
        return f"no answer within {step_s:g} s"
    if isinstance(exc, OSError) and isinstance(exc.errno, int) and exc.errno > 0:
        return os.strerror(exc.errno)
    return getattr(exc, "strerror", None) or str(exc)
