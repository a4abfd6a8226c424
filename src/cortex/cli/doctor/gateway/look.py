"""The edge of the gateway's checks: gathers what they judge, each thing once. Decides nothing, changes nothing."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from cortex.cli.doctor.examination import DEADLINE_S, Fact, in_thread
from cortex.cli.doctor.finding import Skip
from cortex.cli.doctor.gateway import store
from cortex.cli.doctor.host import ROOT, Identity, by_permission, identity_of, look_into, text_of
from cortex.cli.doctor.local_call import get, has_certificate, place_of
from cortex.cli.doctor.neuron_look import NeuronLook, look_at
from cortex.cli.doctor.port import CLOSED, PortState
from cortex.cli.doctor.port import look_at as look_at_port
from cortex.cli.doctor.program import Programs
from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.fleet.view import NodeView
from cortex.gateway.catalogue import catalogue_path, load_catalogue
from cortex.gateway.settings import (
    DROP_INS,
    GatewaySection,
    GatewaySettings,
    host_port,
    load_gateway_settings,
    tls_files_of,
)
from cortex.gateway.store_url import StoreUrl, parse_store_url
from cortex.kit.clock import Clock
from cortex.kit.credential import as_the_unit
from cortex.kit.http_client import HttpClient
from cortex.kit.json_fault import NOT_JSON
from cortex.kit.settings import drop_ins, find_config

Reply = tuple[int, bytes, Mapping[str, str]]

STEPS = 4
"""To a neuron."""
UNIT = "cortex.service"
UNKNOWN = "?"
"""The version of a daemon that is ours and does not tell which."""


class Configured(NamedTuple):
    """The file that was found (None: none, and all is by default), and what it and the environment say."""

    path: Path | None
    settings: GatewaySettings


class Running(NamedTuple):
    """The gateway on the configured port, if there is one: what ``/readyz`` and ``/health`` say."""

    ready: str = ""
    version: str = ""
    health: Mapping[str, Any] | None = None


class GatewayLook:
    """What there is to see from this host with this configuration; belongs to one event loop."""

    def __init__(
        self,
        config: Path | None,
        env: Mapping[str, str],
        cwd: Path,
        home: Path,
        clock: Clock,
        *,
        root: Path = ROOT,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """``deadline_s``: of a check, which may ask somebody else a few times."""
        self.step_s = deadline_s / STEPS
        self.env = env
        self.clock = clock
        self.root = root
        self.programs = Programs(env)
        self._config = config
        self._cwd = cwd
        self._home = home
        self.http = HttpClient(user_agent="cortex-doctor")
        self.configured = Fact(self._configured)
        self.profiles = Fact(self._profiles)
        self.running = Fact(self._running)
        self.api_port = Fact(lambda: self._port("listen"))
        self.metrics_port = Fact(lambda: self._port("metrics_listen"))
        self.neurons = Fact(self._neurons)
        self.store = Fact(self._store)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

    def find(self) -> Configured:
        """Read the configuration. Raises: ConfigError, and PermissionError where this user may not."""
        with by_permission():
            path = find_config(
                "cortex.toml",
                explicit=self._config,
                env=self.env,
                env_key="CORTEX_CONFIG",
                cwd=self._cwd,
                home=self._home,
                etc=self.root / "etc/cortex",
            )
        if path is not None:
            look_into(path, path.parent / DROP_INS)
        look_into(*drop_ins(path, DROP_INS))
        self.env = as_the_unit(self.env, UNIT, path, self.root)
        return Configured(path, load_gateway_settings(path, self.env))

    async def _configured(self) -> Configured:
        try:
            return await in_thread(self.find)
        except ConfigError:
            raise Skip("the configuration cannot be used: see config.file") from None

    async def _profiles(self) -> tuple[Profile, ...]:
        try:
            return await in_thread(self.read_catalogue, *await self.configured())
        except ConfigError:
            raise Skip("the catalogue cannot be used: see catalogue.file") from None

    def read_catalogue(self, path: Path | None, settings: GatewaySettings) -> tuple[Profile, ...]:
        """Read the catalogue of a configuration. Raises: ConfigError, and PermissionError where this user may not."""
        look_into(catalogue_path(settings.gateway.models, path))
        return load_catalogue(settings.gateway.models, path)

    async def store_url(self) -> StoreUrl | None:
        """Return where the store is."""
        url = (await self.configured()).settings.store.url
        return None if url is None else parse_store_url(url)

    async def identity(self) -> Identity:
        """Return who runs the gateway, or would."""
        with contextlib.suppress(Skip):
            pid = (await self.api_port()).pid if (await self.running()).ready else 0
            return identity_of(pid, "cortex", self.root)
        return identity_of(0, "cortex", self.root)

    async def views(self) -> list[NodeView]:
        """Return the nodes as the fleet's rules see them."""
        return [
            NodeView(
                name=look.name,
                is_healthy=look.discovery is not None,
                is_tried=True,
                why=look.why_no_neuron or look.said,
                discovery=look.discovery,
                health=look.health,
                models=look.models,
            )
            for look in await self.neurons()
        ]

    async def _neurons(self) -> list[NeuronLook]:
        entries = (await self.configured()).settings.neurons
        looks = (
            look_at(
                each.name,
                each.endpoint,
                each.token_file,
                self.http,
                self.clock,
                self.step_s,
                tls_files_of(each),
                self.env,
            )
            for each in entries
        )
        return list(await asyncio.gather(*looks))

    async def _store(self) -> store.StoreLook | None:
        url = await self.store_url()
        return None if url is None else await store.look_at(url, self.clock, self.step_s * 2)

    async def _port(self, key: str) -> PortState:
        gateway = (await self.configured()).settings.gateway
        host, port = host_port(getattr(gateway, key))
        state = await in_thread(look_at_port, host, port, self.root)
        if not state.refusal or not port:
            return state
        if key == "listen":
            return state._replace(version=(await self.running()).version)
        said = await self._get(f"{self._scheme(gateway, key)}://{place_of(host, port)}/metrics")
        is_ours = said is not None and b"\ncortex_" in b"\n" + said[1]
        return state._replace(version=UNKNOWN if is_ours or await self._shows_ours(gateway, key) else "")

    async def _running(self) -> Running:
        gateway = (await self.configured()).settings.gateway
        host, port = host_port(gateway.listen)
        if not port:
            return Running()
        url = f"{self._scheme(gateway, 'listen')}://{place_of(host, port)}"
        file = self.env.get("CORTEX_API_KEY_FILE")
        key = self.env.get("CORTEX_API_KEY") or (file and text_of(Path(file))) or ""
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        ready = _json(await self._get(f"{url}/readyz")).get("status", "")
        if ready not in ("ok", "starting", "stopping"):
            return Running(CLOSED, UNKNOWN) if await self._shows_ours(gateway, "listen") else Running()
        root, health = await asyncio.gather(self._get(f"{url}/", headers), self._get(f"{url}/health"))
        version = _json(root).get("version") if _json(root).get("name") == "cortex" else UNKNOWN
        return Running(ready, str(version or UNKNOWN), _json(health) or None)

    def _scheme(self, gateway: GatewaySection, key: str) -> str:
        return "https" if gateway.tls_cert and (key == "listen" or gateway.metrics_tls) else "http"

    async def _shows_ours(self, gateway: GatewaySection, key: str) -> bool:
        cert, (host, port) = gateway.tls_cert, host_port(getattr(gateway, key))
        if cert is None or gateway.tls_client_ca is None or self._scheme(gateway, key) == "http":
            return False
        return await in_thread(has_certificate, place_of(host, port), cert, self.step_s)

    async def _get(self, url: str, headers: Mapping[str, str] = MappingProxyType({})) -> Reply | None:
        return await in_thread(get, url, headers, self.step_s)


def _json(said: Reply | None) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(said[1]) if said else {}
    except NOT_JSON:
        return {}
    return value if isinstance(value, dict) else {}
