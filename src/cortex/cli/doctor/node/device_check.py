"""The checks of a node's devices, engines and systemd."""

import os
from collections.abc import Iterable, Iterator
from itertools import chain

from cortex.cli.doctor.examination import RIGHTS, Check, in_thread
from cortex.cli.doctor.finding import Finding, Skip, ok
from cortex.cli.doctor.host import first_line, text_of
from cortex.cli.doctor.node import engine, gpu
from cortex.cli.doctor.node.look import NodeLook, rules_of


def of_gpus(look: NodeLook) -> Iterable[Check]:
    async def driver() -> Finding:
        return gpu.judge_driver(await look.gpu())

    async def agreement() -> Finding:
        return gpu.judge_agreement(await look.gpu())

    async def count() -> Finding:
        return gpu.judge_count(await look.gpu())

    async def files() -> Finding:
        return gpu.judge_files(await look.gpu())

    async def rights() -> Iterator[Finding]:
        return gpu.judge_rights(await look.gpu(), await look.identity())

    async def persistence() -> Finding:
        return gpu.judge_persistence(await look.gpu())

    async def health() -> Iterator[Finding]:
        offer = await look.offer()
        pairs = zip(offer.inventory.devices, offer.readings, strict=False)
        return gpu.judge_health(
            [
                gpu.DeviceState(
                    device.index,
                    device.name,
                    reading.trouble,
                    reading.recovery_action,
                    reading.ecc_errors.get("uncorrected", 0),
                )
                for device, reading in pairs
            ]
        )

    async def xids() -> Iterable[Finding]:
        if not (await look.gpu()).nvidia:
            return [ok("no GPU of NVIDIA is on the PCI bus")]
        said = await look.programs.run("journalctl", "-k", "-b", "--no-pager", "-o", "cat", "-g", "NVRM: Xid")
        if said.err.strip():  # it hints there, unless --quiet, that it does not show everything to this user
            raise Skip(f"the kernel's log: {first_line(said.err)}", f"{RIGHTS}, which is in group systemd-journal")
        return gpu.judge_xids(said.out.splitlines())

    async def peers() -> Finding:
        has_iommu = await in_thread(lambda: any((look.root / "sys/class/iommu").glob("*")))
        cmdline = await in_thread(text_of, look.root / "proc/cmdline") or ""
        found = (await look.gpu()).on_bus
        return gpu.judge_peers(sum(map(len, found.values())), has_iommu=has_iommu, cmdline=cmdline)

    return (
        Check("gpu.driver", driver),
        Check("gpu.smi", agreement),
        Check("gpu.count", count),
        Check("gpu.file", files),
        Check("gpu.right", rights),
        Check("gpu.health", health),
        Check("gpu.xid", xids),
        Check("gpu.persistence", persistence),
        Check("gpu.peer", peers),
    )


def of_engines(look: NodeLook) -> Iterable[Check]:
    async def usable() -> Iterator[Finding]:
        return engine.judge_engines((await look.offer()).harnesses)

    async def cuda() -> Iterator[Finding]:
        offer = await look.offer()
        seen = offer.inventory
        capabilities = [device.compute_capability or "" for device in seen.devices if device.kind in ("cuda", "mig")]
        of_driver = engine.judge_cuda(offer.harnesses, seen.cuda_driver_version, seen.driver_version, capabilities)
        return chain(of_driver, engine.judge_capability(offer.harnesses, seen.devices))

    async def systemd() -> Finding:
        try:
            said = (await look.programs.run("systemctl", "is-system-running")).out.strip()
        except Skip:
            said = ""
        return engine.judge_systemd(said, await look.units())

    async def units() -> Iterator[Finding]:
        return engine.judge_units(await look.units())

    async def rules() -> list[Finding]:
        user = (await look.identity()).name
        texts = await in_thread(rules_of, look.root, user)
        found = [engine.judge_rule(unit, texts, user, await _asked(look, unit.name)) for unit in await look.units()]
        return found or [ok("no harness has a unit")]

    return (
        Check("engine.usable", usable),
        Check("engine.cuda", cuda),
        Check("systemd.reach", systemd),
        Check("systemd.unit", units),
        Check("systemd.polkit", rules),
    )


async def _asked(look: NodeLook, unit: str) -> bool | None:
    """Ask polkit whether the running neuron may start a unit; it answers root only. None: it cannot be asked."""
    pid = await look.pid()
    if not pid or os.geteuid() != 0:
        return None
    action = ("--action-id", "org.freedesktop.systemd1.manage-units", "--process", str(pid))
    try:
        said = await look.programs.run("pkcheck", *action, "--detail", "unit", unit, "--detail", "verb", "start")
    except Skip:
        return None
    return {0: True, 1: False, 2: False, 3: False}.get(said.code) if "Error" not in said.err else None
