"""A server below a systemd unit: brought up when it is down, restarted, and why it does not come up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cortex.contract.error import UpstreamBroken
from cortex.neuron.process.systemd import SystemdUnit
from cortex.neuron.refusal import SystemdRefused
from cortex.neuron.server_unit import ServerUnit
from cortex.testing.fake_systemd import FakeSystemd

NAME = "art.service"
URL = "http://localhost:8188"
SHELL = ("/bin/sh", "-c")


class Scene:
    """A unit whose server is up once its program has run ``looks`` looks long."""

    def __init__(self, systemd: FakeSystemd, limit_s: float, looks: int) -> None:
        self.systemd = systemd
        self.looks = looks
        self.server = ServerUnit(SystemdUnit(NAME, systemd.environment()), URL, self._is_up, limit_s)

    async def _is_up(self) -> bool:
        if not self.systemd.pid(NAME):
            return False
        self.looks -= 1
        return self.looks < 0


def with_unit(
    tmp_path: Path,
    test: Callable[[Scene], Awaitable[None]],
    command: Sequence[str] | None = None,
    *,
    limit_s: float = 60,
    looks: int = 1,
    **unit: Any,
) -> None:
    script = ("/bin/sh", "-c", f"mkfifo {tmp_path}/fifo; read -r line <> {tmp_path}/fifo")
    with FakeSystemd(tmp_path / "systemd") as systemd:
        if command is None or command:
            systemd.install(NAME, command or script, **unit)
        asyncio.run(test(Scene(systemd, limit_s, looks)))  # type: ignore[arg-type]


def test_a_server_that_is_down_is_started_and_waited_for(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        assert await scene.server.bring_up() is None
        pid = scene.systemd.pid(NAME)
        assert (pid > 0, scene.looks) == (True, -1)
        assert await scene.server.bring_up() is None
        assert scene.systemd.pid(NAME) == pid, "one that is up stays as it is"
        await scene.server.restart()
        assert scene.systemd.pid(NAME) not in (0, pid)

    with_unit(tmp_path, test)


@pytest.mark.parametrize(
    ("words", "code"), [("no such file: x", "server_failed"), ("CUDA out of memory", "out_of_memory")]
)
def test_a_server_that_ends_instead_says_why_in_its_own_words(tmp_path: Path, words: str, code: str) -> None:
    async def test(scene: Scene) -> None:
        failure = await scene.server.bring_up()
        assert failure is not None
        assert (failure.code, failure.message) == (code, f"{NAME} has ended (exit-code): {words}")
        assert failure.log_tail == (words,)
        with pytest.raises(UpstreamBroken, match=words):
            await scene.server.restart()

    with_unit(tmp_path, test, (*SHELL, f"echo '{words}'; exit 3"), looks=1000)


def test_a_server_that_does_not_answer_in_time_is_told(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        failure = await scene.server.bring_up()
        assert failure is not None
        assert (failure.code, failure.message) == ("server_failed", f"{NAME} does not answer at {URL}")

    with_unit(tmp_path, test, limit_s=1, looks=1000)


def test_systemds_refusal_is_passed_on(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        failure = await scene.server.bring_up()
        assert failure is not None
        assert failure.code == "systemd_refused"
        assert "polkit" in failure.message
        with pytest.raises(SystemdRefused, match="Access denied"):
            await scene.server.restart()
        assert await scene.server.why_it_cannot_start() is None, "systemd knows it; who may start it is not seen"

    with_unit(tmp_path, test, denied="Access denied")


def test_a_unit_that_there_is_not_cannot_be_started(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        assert await scene.server.why_it_cannot_start() == f"systemd says 'not-found' of {NAME}"
        failure = await scene.server.bring_up()
        assert failure is not None
        assert f"Unit {NAME} not found" in failure.message

    with_unit(tmp_path, test, ())


def test_a_unit_whose_command_nobody_has_written_cannot_be_started(tmp_path: Path) -> None:
    there, wanted = tmp_path / "there.env", tmp_path / "art.env"
    there.touch()

    async def test(scene: Scene) -> None:
        why = await scene.server.why_it_cannot_start()
        assert why == f"{NAME} cannot be started: {wanted} is not there"
        wanted.write_text("ENGINE_COMMAND=/bin/true\n")
        assert await scene.server.why_it_cannot_start() is None

    with_unit(tmp_path, test, files=[str(there), str(wanted)])


def test_without_systemctl_nothing_can_be_started(tmp_path: Path) -> None:
    async def test() -> None:
        async def is_up() -> bool:
            return False

        server = ServerUnit(SystemdUnit(NAME, {"PATH": str(tmp_path)}), URL, is_up, 1)
        why = await server.why_it_cannot_start()
        assert why == f"systemctl cannot be asked for {NAME}, and nothing answers at {URL}"
        failure = await server.bring_up()
        assert failure is not None
        assert failure.code == "systemd_refused"

    asyncio.run(test())
