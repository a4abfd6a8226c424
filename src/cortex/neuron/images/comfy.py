"""ComfyUI's HTTP API, as far as images need it. It is polled: its websocket would tell the same.

Read in ComfyUI's server.py, execution.py and main.py, 2024-04 to 2026-11: ``/interrupt`` stops whatever runs in
versions before 2025-09, which know no ``prompt_id``; ``/free`` is a flag that is looked at between two workflows and
concerns every model; while a model is read from disk, answers can take long.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from cortex.contract.error import CortexError, UpstreamBroken, UpstreamError, UpstreamTimeout
from cortex.kit.http_client import HttpClient, HttpReply
from cortex.kit.json_fault import NOT_JSON
from cortex.kit.task import TaskOwner
from cortex.neuron.images.answer import (
    Entry,
    Failed,
    Image,
    ModelFile,
    Queue,
    Queued,
    Rejected,
    Stats,
    images_in,
    why_rejected,
)
from cortex.residency.backoff import Backoff

T = TypeVar("T")

DEADLINE_S = 10.0
POLL = Backoff(first_s=0.02, limit_s=0.5, factor=1.3)
SILENT_POLLS = 12
"""So many polls in a row may go without an answer while a workflow runs."""
POLLS_TO_QUEUE = 10
"""Every so often it is looked whether the workflow is still there at all."""
STOP_POLLS = 40
"""Looks whether a workflow that was interrupted has stopped: about 15 s."""
MAX_IMAGE_BYTES = 128 << 20
_JSON = {"content-type": "application/json"}


class Comfy:
    """One ComfyUI at a base URL. Every method raises UpstreamError when it does not answer as ComfyUI does."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self.url = url
        self._http = http
        self._owner = TaskOwner()

    async def stats(self) -> Stats:
        """Return what it is and what it has."""
        return await self._get("/system_stats", Stats)

    async def lacking(self, classes: Iterable[str]) -> tuple[str, ...]:
        """Return those classes of nodes that it does not know."""
        names = sorted(classes)
        answers = [await self._get(f"/object_info/{quote(name, safe='')}", dict[str, Any]) for name in names]
        return tuple(name for name, answer in zip(names, answers, strict=True) if name not in answer)

    async def checkpoints(self) -> tuple[str, ...]:
        """Return the names of its checkpoints."""
        info = await self._get("/object_info/CheckpointLoaderSimple", dict[str, Any])
        with contextlib.suppress(KeyError, IndexError, TypeError):
            said = info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"]
            names = said[1]["options"] if said[0] == "COMBO" else said[0]
            return tuple(str(name) for name in names)
        return ()

    async def sizes_bytes(self, folder: str) -> dict[str, int]:
        """Return the sizes of the model files in one of its folders; nothing where it does not tell."""
        try:
            files = await self._get(f"/experiment/models/{quote(folder, safe='')}", list[ModelFile])
        except UpstreamError:
            return {}
        return {file.name: file.size for file in files if file.size is not None}

    async def free(self) -> None:
        """Have it drop its models; it does so after the workflow that runs."""
        await self._post("/free", {"unload_models": True, "free_memory": True})

    async def is_running(self) -> bool:
        """Tell whether a workflow runs, whoever asked for it."""
        return bool((await self._get("/queue", Queue)).queue_running)

    async def run(self, workflow: object, client_id: str) -> tuple[Image, ...]:
        """Run a workflow and return its images; one that is not waited for any more is stopped.

        Raises: Rejected, Failed, OutOfMemory.
        """
        # Not to be called off in the middle: its id would be lost, and it would run for nobody.
        submission = self._owner.start(self._submitted(workflow, client_id), "submission")
        try:
            outcome = await asyncio.shield(submission)
            if isinstance(outcome, CortexError):
                raise outcome
            return await self._images(outcome)
        except (asyncio.CancelledError, UpstreamError):
            outcome = await submission
            if isinstance(outcome, str):
                await self._stop(lambda queued: queued.prompt_id == outcome)
            raise

    async def call_off(self, client_id: str) -> None:
        """Stop all that was ever asked for under a client's name."""
        await self._stop(lambda queued: queued.extra.get("client_id") == client_id)

    async def view(self, image: Image) -> bytes:
        """Return the content of a file."""
        path = f"/view?{urlencode(msgspec.structs.asdict(image), quote_via=quote)}"
        reply = await self._ask("GET", path, None)
        if reply.status != 200:
            raise UpstreamBroken(f"ComfyUI does not have {image.filename} any more")
        return reply.body

    async def _submitted(self, workflow: object, client_id: str) -> str | CortexError:
        try:
            return await self._submit(workflow, client_id)
        except CortexError as error:
            return error

    async def _submit(self, workflow: object, client_id: str) -> str:
        reply = await self._ask("POST", "/prompt", {"prompt": workflow, "client_id": client_id})
        answer = _decoded(reply.body, dict[str, Any])
        if reply.status == 400 and answer is not None:
            raise Rejected(why_rejected(answer))
        if reply.status != 200 or answer is None or not isinstance(answer.get("prompt_id"), str):
            raise self._strange("/prompt", reply.status)
        return str(answer["prompt_id"])

    async def _images(self, prompt_id: str) -> tuple[Image, ...]:
        polls = silent = 0
        while True:
            try:
                entry = await self._entry(prompt_id)
                silent = 0
            except UpstreamTimeout:
                entry, silent = None, silent + 1
                if silent == SILENT_POLLS:
                    raise
            if entry is not None:
                return images_in(entry)
            if not silent and polls % POLLS_TO_QUEUE == POLLS_TO_QUEUE - 1 and not await self._knows(prompt_id):
                raise Failed("ComfyUI has lost the workflow: it was restarted, or its queue was cleared")
            await asyncio.sleep(POLL.delay_s(polls))
            polls += 1

    async def _entry(self, prompt_id: str) -> Entry | None:
        return (await self._get(f"/history/{quote(prompt_id, safe='')}", dict[str, Entry])).get(prompt_id)

    async def _knows(self, prompt_id: str) -> bool:
        queue = await self._get("/queue", Queue)
        if any(queued.prompt_id == prompt_id for queued in (*queue.queue_running, *queue.queue_pending)):
            return True
        return await self._entry(prompt_id) is not None  # it may have ended in between

    async def _stop(self, is_meant: Callable[[Queued], bool]) -> None:
        """Take workflows out of the queue; interrupt the one that runs, and see it stop."""
        with contextlib.suppress(UpstreamError):
            queue = await self._get("/queue", Queue)
            await self._post("/queue", {"delete": [q.prompt_id for q in queue.queue_pending if is_meant(q)]})
            for polls in range(STOP_POLLS):
                queue = await self._get("/queue", Queue)
                running = [queued.prompt_id for queued in queue.queue_running if is_meant(queued)]
                if not running:
                    return
                if polls == 0:
                    await self._post("/interrupt", {"prompt_id": running[0]})
                await asyncio.sleep(POLL.delay_s(polls))

    async def _get(self, path: str, kind: type[T]) -> T:
        reply = await self._ask("GET", path, None)
        answer = _decoded(reply.body, kind) if reply.status == 200 else None
        if answer is None:
            raise self._strange(path, reply.status)
        return answer

    async def _post(self, path: str, body: object) -> None:
        reply = await self._ask("POST", path, body)
        if reply.status != 200:
            raise self._strange(path, reply.status)

    async def _ask(self, method: str, path: str, body: object) -> HttpReply:
        data = None if body is None else msgspec.json.encode(body)
        return await self._http.request(
            method,
            self.url + path,
            deadline_s=DEADLINE_S,
            body=data,
            headers=_JSON if data else None,
            max_answer_bytes=MAX_IMAGE_BYTES,
        )

    def _strange(self, path: str, status: int) -> UpstreamBroken:
        return UpstreamBroken(f"{self.url}{path}: answered {status}, and not as ComfyUI does")


def client_id_of(nonce: str) -> str:
    """Return the name under which a generation gives workflows to ComfyUI, where anyone may read it."""
    return "cortex-" + blake2b(nonce.encode(), digest_size=8).hexdigest()


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except NOT_JSON:
        return None
