"""Runs the processes of a local fleet: in order up, watched, in reverse order down.

Neuron first, since a gateway that finds it at once needs no second poll; then the gateway; then one tiny request
through the whole way, which loads the model. A process that ends by itself ends the fleet. The kernel kills every
process whose parent is gone (``neuron/process/tether.py``), so not even ``kill -9`` leaves an orphan.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from cortex.cli.up.plan import Plan
from cortex.contract.error import ConfigError, CortexError, LoadFailed, UpstreamError
from cortex.contract.instance import InstanceError, InstanceReport
from cortex.contract.node import Discovery
from cortex.kit.http_client import HttpClient
from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.process.child import Child, spawn
from cortex.neuron.process.last_words import how_it_ended
from cortex.neuron.process.log_tail import tail

READY_POLL_S = 0.05
LOOK_S = 0.5
TELL_S = 10.0
"""While a model loads, a sign of life so often."""
ASK_DEADLINE_S = 10.0
LOAD_DEADLINE_S = 6 * 3600.0
"""A large model over a slow line; Ctrl-C ends it sooner."""
STOP_GRACE_S = {"gateway": 10.0, "neuron": 30.0}
"""Longer than the daemons' own limits in the plan's files, so that SIGKILL hits only what hangs."""

UNDER_WAY = ("loading", "draining", "unloading")


class MemberEnded(CortexError):
    """A process of the fleet ended by itself."""

    code = "member_ended"


class Member(NamedTuple):
    """One daemon of the fleet."""

    name: str
    child: Child


class LocalFleet:
    """The fleet of one plan. ``say`` is given lines for the person."""

    def __init__(self, plan: Plan, env: Mapping[str, str], http: HttpClient, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._env = env
        self._http = http
        self._say = say
        self._members: list[Member] = []

    async def run(self, up: Callable[[], None]) -> None:
        """Start everything, call ``up`` once the model is loaded, and run until cancelled or until one ends.

        Raises: an ExceptionGroup of CortexErrors.
        """
        async with asyncio.TaskGroup() as group:
            self._start(group, "neuron", "cortex.cli.neuron", "--config", str(self._plan.neuron_config))
            await self._until_ready(self._plan.neuron_url)
            await self._check_engine()
            self._start(group, "gateway", "cortex", "serve", "--config", str(self._plan.gateway_config))
            await self._until_ready(self._plan.gateway_url)
            await self._load_model(group)
            up()

    async def stop(self) -> None:
        """End every process, the gateway first; returns when none is left."""
        for member in reversed(self._members):
            await member.child.stop(STOP_GRACE_S[member.name])

    def kill(self) -> None:
        """End every process at once; their engines end with them."""
        for member in self._members:
            member.child.signal(signal.SIGKILL)

    def _start(self, group: asyncio.TaskGroup, name: str, module: str, *options: str) -> None:
        argv = [sys.executable, "-P", "-m", module, *options]
        child = spawn(argv, self._env, self._plan.log_of(name), is_tethered=True)
        member = Member(name, child)
        self._members.append(member)
        group.create_task(self._guard(member))

    async def _guard(self, member: Member) -> None:
        code = await member.child.wait()
        lines = tail(self._plan.log_of(member.name), 20)
        last = "; its last lines:" if lines else ""
        raise MemberEnded(
            "\n".join([f"the {member.name} {how_it_ended(code)}{last}", *(f"  {line}" for line in lines)])
        )

    async def _until_ready(self, url: str) -> None:
        while True:
            try:
                reply = await self._http.request("GET", f"{url}/readyz", deadline_s=ASK_DEADLINE_S)
                if reply.status == 200:
                    return
            except UpstreamError:
                pass  # not listening yet; if it never will, it ends, and its guard tells
            await asyncio.sleep(READY_POLL_S)

    async def _check_engine(self) -> None:
        reply = await self._http.request("GET", f"{self._plan.neuron_url}/discovery", deadline_s=ASK_DEADLINE_S)
        for detail in msgspec.json.decode(reply.body, type=Discovery).harness_details:
            if not detail.usable:
                raise ConfigError(f"no engine: {detail.why_not}")

    async def _load_model(self, group: asyncio.TaskGroup) -> None:
        """Send a tiny request and watch the neuron until it is answered. Raises: LoadFailed."""
        model, waited_s = self._plan.model.id, 0.0
        request = group.create_task(self._tiny_request(model))
        while True:
            is_over = request.done()  # before the look: what is seen after it is news
            if is_over and not request.result():
                return
            report = await self._report(model)
            if is_over and (report is None or report.status not in UNDER_WAY):
                raise LoadFailed("\n".join(_why(model, report.error if report else None, request.result())))
            await asyncio.wait((request,), timeout=LOOK_S) if not request.done() else await asyncio.sleep(LOOK_S)
            waited_s += LOOK_S
            if waited_s % TELL_S == 0:
                self._say(f"still loading {model}, {waited_s:.0f} s so far")

    async def _tiny_request(self, model: str) -> str:
        """Return what the gateway said where that was an error, else nothing."""
        body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello!"}]}
        try:
            reply = await self._http.request(
                "POST",
                f"{self._plan.gateway_url}/v1/chat/completions",
                deadline_s=LOAD_DEADLINE_S,
                body=msgspec.json.encode(body),
                headers={"content-type": "application/json"},
            )
        except UpstreamError as exc:
            return exc.message
        return "" if reply.status == 200 else reply.body.decode(errors="replace")

    async def _report(self, model: str) -> InstanceReport | None:
        reply = await self._http.request("GET", f"{self._plan.neuron_url}/models", deadline_s=ASK_DEADLINE_S)
        reports = msgspec.json.decode(reply.body, type=list[InstanceReport])
        return next((report for report in reports if report.id == model), None)


def _why(model: str, error: InstanceError | None, answer: str) -> list[str]:
    if error is None:
        return [f"{model} could not be loaded: {_message(answer)}"]
    return [f"{model} could not be loaded: {error.message}", *(f"  {line}" for line in error.log_tail[-10:])]


def _message(answer: str) -> str:
    """Return the sentence of an OpenAI error body, else the whole."""
    try:
        return str(msgspec.json.decode(answer)["error"]["message"])
    except (*NOT_JSON, KeyError, TypeError):
        return answer
