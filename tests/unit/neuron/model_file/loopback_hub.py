"""A Hugging Face of our own on loopback: as much of it as finding and fetching a file asks for."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

COMMIT = "c0ffee" * 6 + "c0ff"

Repositories = Mapping[str, Mapping[str, bytes] | int]
"""Files by repository; a number is the status that everything about it is answered with."""

_ERROR_CODES = {403: "GatedRepo", 404: "RepoNotFound"}


@contextlib.asynccontextmanager
async def hub(repositories: Repositories) -> AsyncIterator[str]:
    """Run it and yield its base URL."""

    def files_of(request: web.Request) -> Mapping[str, bytes]:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        files = repositories.get(name, 404)
        if isinstance(files, int):
            raise _refusal(files)
        return files

    async def info(request: web.Request) -> web.Response:
        siblings = [{"rfilename": name, "size": len(content)} for name, content in files_of(request).items()]
        return web.json_response({"id": "x/y", "sha": COMMIT, "siblings": siblings})

    async def file(request: web.Request) -> web.Response:
        content = files_of(request).get(request.match_info["path"])
        if content is None:
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest()
        return web.Response(body=content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    app = web.Application()
    app.router.add_get("/api/models/{owner}/{name}", info)
    app.router.add_get("/{owner}/{name}/resolve/main/{path:.*}", file)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _refusal(status: int) -> web.HTTPException:
    refusal = web.HTTPNotFound(headers={"X-Error-Code": _ERROR_CODES[status]} if status in _ERROR_CODES else {})
    refusal.set_status(status)
    return refusal
