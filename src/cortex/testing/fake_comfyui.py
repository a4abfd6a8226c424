"""A ComfyUI without models: its HTTP API on a loopback port, with real PNG files of the size that was asked for.

Like the real one (read in 2026-11) it checks a workflow before it takes it, runs one at a time, keeps models and
results until it is told to free them, which it does between two workflows, interrupts what runs, and runs out of memory
when an image is too large. While ``gate`` is closed, a workflow runs on.

    python -m cortex.testing.fake_comfyui --port 8188
"""

import argparse
import asyncio
import json
import signal
import struct
import zlib
from collections import deque
from typing import Any, NamedTuple
from uuid import uuid4

from aiohttp import web

from cortex.kit.task import TaskOwner
from cortex.neuron.first_of import first_of
from cortex.testing.fake_comfyui_node import catalogue, check, described
from cortex.testing.loopback_server import LoopbackServer

MODEL_BYTES = 6 << 30
FILE_BYTES = 5 << 30
VRAM_BYTES = 24 << 30
LARGEST_PIXELS = 1 << 24
"""Of all images of one workflow together: more do not fit."""
OOM_WORDS = "Allocation on device \nThis error means you ran out of memory on your GPU.\n\nTIPS: make it smaller."


class File(NamedTuple):
    """The name of a picture, as outputs and ``/view`` have it."""

    filename: str
    subfolder: str
    type: str


class FakeComfyUi(LoopbackServer):
    """One server; what it was told is in ``prompts``, ``interrupts`` (of those that ran) and ``frees``."""

    def __init__(
        self,
        *,
        checkpoints: tuple[str, ...] = ("sdxl.safetensors",),
        device: str = "cpu",
        is_old: bool = False,
        is_v3: bool = False,
        argv: tuple[str, ...] = (),
        port: int = 0,
    ) -> None:
        """``is_old``: an interrupt stops whatever runs; ``is_v3``: nodes are described as by the newest versions."""
        self.device = device
        self.gate = asyncio.Event()
        self.gate.set()
        self.prompts: list[dict[str, Any]] = []
        self.interrupts: list[str] = []
        self.frees = 0
        self.held_bytes = 0
        self.is_leaking = False
        self.changed = asyncio.Event()
        self._checkpoints = checkpoints
        self._nodes = catalogue(checkpoints)
        self._argv = ["main.py", *argv]
        self._is_old = is_old
        self._is_v3 = is_v3
        self._pending: deque[list[Any]] = deque()
        self._running: list[Any] | None = None
        self._interrupted = asyncio.Event()
        self.is_told_to_free = False
        self._history: dict[str, dict[str, Any]] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._files: dict[File, bytes] = {}
        super().__init__(port)
        self._owner = TaskOwner()

    async def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        app = web.Application()
        app.router.add_get("/system_stats", self._get_stats)
        app.router.add_get("/object_info", self._get_info)
        app.router.add_get("/object_info/{name}", self._get_info)
        app.router.add_get("/experiment/models/{folder}", self._get_files)
        app.router.add_post("/prompt", self._post_prompt)
        app.router.add_get("/history", self._get_history)
        app.router.add_get("/history/{id}", self._get_history)
        app.router.add_get("/view", self._get_view)
        app.router.add_get("/queue", self._get_queue)
        app.router.add_post("/queue", self._post_queue)
        app.router.add_post("/interrupt", self._post_interrupt)
        app.router.add_post("/free", self._post_free)
        await self._listen(app)
        self._owner = TaskOwner()
        self._owner.start(self._work(), "worker")

    async def stop(self) -> None:
        """Be gone: connections are refused, queue, history and memory are lost."""
        if self._runner is not None:
            await self._owner.stop()
            await super().stop()
            self.forget()
            self.held_bytes = 0

    @property
    def is_busy(self) -> bool:
        """Whether a workflow runs or waits, or memory is still to be freed."""
        return self._running is not None or bool(self._pending) or self.is_told_to_free

    async def until_running(self) -> None:
        """Return once a workflow runs."""
        while self._running is None:
            await self.until_changed()

    async def until_idle(self) -> None:
        """Return once there is nothing to do any more."""
        while self.is_busy:
            await self.until_changed()

    async def until_changed(self) -> None:
        """Return once something was asked for, began or ended after this call."""
        self.changed.clear()
        await self.changed.wait()

    def forget(self) -> None:
        """Lose queue and history, as a restart does."""
        self._pending.clear()
        self._history.clear()
        self._running = None
        self._interrupted.set()
        self.changed.set()

    async def _work(self) -> None:
        while True:
            if self._pending:
                self._running = self._pending.popleft()
                self._interrupted.clear()
                self.changed.set()
                entry = await self._executed(self._running)
                if self._running is not None:  # else it was forgotten meanwhile
                    self._history[self._running[1]] = entry
                    self._running = None
                    self.changed.set()
            self._obey_flag()
            if not self._pending:
                await self.until_changed()

    async def _executed(self, item: list[Any]) -> dict[str, Any]:
        """Run a workflow; return its entry in the history."""
        workflow, key = item[2], json.dumps(item[2], sort_keys=True)
        if key in self._results:
            return _entry(item, "success", self._results[key], ["execution_cached", {"nodes": list(workflow)}])
        self.held_bytes = MODEL_BYTES
        await first_of(self._owner, gate=self.gate.wait(), interrupted=self._interrupted.wait())
        if self._interrupted.is_set():
            return _entry(item, "error", {}, ["execution_interrupted", _at(workflow, "KSampler")])
        latent = _of(workflow, "EmptyLatentImage")["inputs"]
        if latent["width"] * latent["height"] * latent["batch_size"] > LARGEST_PIXELS:
            self.held_bytes = 0  # it unloads its models then
            told = {"exception_type": "torch.OutOfMemoryError", "exception_message": OOM_WORDS, "traceback": []}
            return _entry(item, "error", {}, ["execution_error", _at(workflow, "KSampler") | told])
        self._results[key] = {
            key: {"images": [file._asdict() for file in self._saved(node, latent)]}
            for key, node in workflow.items()
            if self._nodes[node["class_type"]].is_output
        }
        return _entry(item, "success", self._results[key], ["execution_success", {"prompt_id": item[1]}])

    def _saved(self, node: dict[str, Any], latent: dict[str, Any]) -> list[File]:
        is_kept = node["class_type"] == "SaveImage"
        folder, _, name = str(node["inputs"]["filename_prefix"] if is_kept else "ComfyUI_temp_xyzzy").rpartition("/")
        files = []
        for _ in range(latent["batch_size"]):
            files.append(File(f"{name}_{len(self._files):05d}_.png", folder, "output" if is_kept else "temp"))
            self._files[files[-1]] = png(latent["width"], latent["height"])
        return files

    def _obey_flag(self) -> None:
        if self.is_told_to_free:
            self.is_told_to_free = False
            self.frees += 1
            self._results.clear()
            if not self.is_leaking:
                self.held_bytes = 0
            self.changed.set()

    async def _get_stats(self, _: web.Request) -> web.Response:
        index = None if self.device == "cpu" else 0
        name = "cpu" if index is None else f"{self.device}:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"
        memory = {
            "vram_total": VRAM_BYTES,
            "vram_free": VRAM_BYTES - self.held_bytes,
            "torch_vram_total": self.held_bytes,
            "torch_vram_free": 0,
        }
        device = {"name": name, "type": self.device, "index": index, **memory}
        system = {"os": "posix", "comfyui_version": "0.3.60", "argv": self._argv}
        return web.json_response({"system": system, "devices": [device]})

    async def _get_info(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name")
        named = {key: node for key, node in self._nodes.items() if name in (None, key)}
        return web.json_response({key: described(key, node, is_v3=self._is_v3) for key, node in named.items()})

    async def _get_files(self, request: web.Request) -> web.Response:
        if self._is_old:
            return web.Response(status=404)
        names = self._checkpoints if request.match_info["folder"] == "checkpoints" else ()
        return web.json_response(
            [{"name": name, "pathIndex": 0, "modified": 0.0, "size": FILE_BYTES} for name in names]
        )

    async def _post_prompt(self, request: web.Request) -> web.Response:
        told = await request.json()
        refusal = check(told["prompt"], self._nodes)
        if refusal is not None:
            return web.json_response(refusal, status=400)
        prompt_id, number = str(uuid4()), len(self.prompts)
        extra = {**told.get("extra_data", {}), **({"client_id": told["client_id"]} if "client_id" in told else {})}
        outputs = [key for key, node in told["prompt"].items() if self._nodes[node["class_type"]].is_output]
        self.prompts.append(told["prompt"])
        self._pending.append([number, prompt_id, told["prompt"], extra, outputs])
        self.changed.set()
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": {}})

    async def _get_history(self, request: web.Request) -> web.Response:
        wanted = request.match_info.get("id")
        return web.json_response({key: entry for key, entry in self._history.items() if wanted in (None, key)})

    async def _get_view(self, request: web.Request) -> web.Response:
        query = request.query
        name, kind = query.get("filename", ""), query.get("type", "output")
        if not name:
            return web.Response(status=404)
        if name.startswith("/") or ".." in name or kind not in ("output", "temp", "input"):
            return web.Response(status=400)
        content = self._files.get(File(name, query.get("subfolder", ""), kind))
        if content is None:
            return web.Response(status=404)
        headers = {"Content-Disposition": f'filename="{name}"'}
        return web.Response(body=content, content_type="image/png", headers=headers)

    async def _get_queue(self, _: web.Request) -> web.Response:
        running = [] if self._running is None else [self._running]
        return web.json_response({"queue_running": running, "queue_pending": list(self._pending)})

    async def _post_queue(self, request: web.Request) -> web.Response:
        told = await request.json()
        gone = [item for item in self._pending if told.get("clear") or item[1] in told.get("delete", [])]
        for item in gone:
            self._pending.remove(item)
        return web.Response()

    async def _post_interrupt(self, request: web.Request) -> web.Response:
        wanted = (await request.json()).get("prompt_id") if request.can_read_body else None
        running = None if self._running is None else self._running[1]
        if running is not None and (self._is_old or wanted in (None, running)):
            self.interrupts.append(running)
            self._interrupted.set()
            self.changed.set()
        return web.Response()

    async def _post_free(self, request: web.Request) -> web.Response:
        told = await request.json()
        self.is_told_to_free = bool(told.get("unload_models") and told.get("free_memory"))
        self.changed.set()
        return web.Response()


def png(width: int, height: int) -> bytes:
    """Return a black picture."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _of(workflow: dict[str, Any], class_type: str) -> dict[str, Any]:
    found: dict[str, Any] = next(node for node in workflow.values() if node["class_type"] == class_type)
    return found


def _at(workflow: dict[str, Any], class_type: str) -> dict[str, Any]:
    """Return where a workflow ended."""
    key = next((key for key, node in workflow.items() if node["class_type"] == class_type), "")
    return {"node_id": key, "node_type": class_type, "executed": []}


def _entry(item: list[Any], how: str, outputs: dict[str, Any], last: list[Any]) -> dict[str, Any]:
    messages = [["execution_start", {"prompt_id": item[1]}], last]
    status = {"status_str": how, "completed": how == "success", "messages": messages}
    return {"prompt": item, "outputs": outputs, "status": status, "meta": {}}


async def _serve(port: int, checkpoints: tuple[str, ...], device: str) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with FakeComfyUi(checkpoints=checkpoints, device=device, port=port) as fake:
        print(f"To see the GUI go to: {fake.url}", flush=True)
        await told.wait()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m cortex.testing.fake_comfyui", description="A ComfyUI without models."
    )
    parser.add_argument("--port", type=int, default=8188, help="0 takes a free one")
    parser.add_argument("--checkpoint", action="append", help="a name that it has; default: sdxl.safetensors")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    said = parser.parse_args()
    asyncio.run(_serve(said.port, tuple(said.checkpoint or ("sdxl.safetensors",)), said.device))


if __name__ == "__main__":
    main()
