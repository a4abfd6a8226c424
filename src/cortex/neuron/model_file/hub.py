"""Model files from Hugging Face, found and fetched by a child process: ``python -m cortex.neuron.model_file.hub …``.

A child, because the library is large, blocks, and cannot be cancelled in a thread; killed, it goes on where it was the
next time. ``hf:<repo>[:<file>]`` names a file; without one it is chosen by quantisation, Q4_K_M if none is asked for.
"""

import asyncio
import contextlib
import errno
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.model_file.finder import DEFAULT_QUANT, choose_in_repo
from cortex.neuron.process.child import spawn
from cortex.neuron.process.last_words import how_it_ended
from cortex.neuron.process.log_tail import size_bytes, tail
from cortex.neuron.refusal import SourceMissing

FIND_DEADLINE_S = 20.0
FETCHED = "fetched: "
"""Begins the last line of a fetch that worked; the path follows."""
TOLD_S = 2.0
"""Between two lines that tell how far a fetch is."""
LOOK_S = 1.0
"""Between two looks for such a line."""
_FAR = re.compile(r"fetched (\d+) of (\d+) MiB")
MIB = 1 << 20


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file on the hub, with all its parts. ``path``: the first of them, when all are in the local cache."""

    repo: str
    files: tuple[str, ...]
    size_bytes: int = 0
    path: str | None = None


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What the child says to ``find``: a file, or why there is none."""

    found: HubFile | None = None
    trouble: str = ""


class FetchFailed(Exception):
    """The file could not be fetched; the message is the child's last line."""


async def find_remote(source: str, quant: str | None, env: Mapping[str, str]) -> HubFile:
    """Return the file that ``hf:<repo>[:<file>]`` means, asking the hub unless it is cached. Raises: SourceMissing."""
    repo, _, file = source.removeprefix("hf:").partition(":")
    argv = [*_SELF, "find", repo, file, quant or ""]
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(FIND_DEADLINE_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise SourceMissing(f"{source}: Hugging Face did not answer within {FIND_DEADLINE_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        answer = msgspec.json.decode(out, type=Lookup)
    except NOT_JSON:
        said = err.decode(errors="replace").strip().splitlines()
        raise SourceMissing(f"{source}: {said[-1] if said else 'the look-up failed'}") from None
    if answer.found is None:
        raise SourceMissing(f"{source}: {answer.trouble}", source=source)
    return answer.found


async def fetch(
    file: HubFile,
    env: Mapping[str, str],
    log: Path,
    *,
    is_tethered: bool,
    progress: Callable[[float], None] = lambda _: None,
) -> Path:
    """Fetch a file with all its parts and return where it is; cancelled, it can be gone on with later.

    ``progress`` is told how far it is, 0 to 1. Raises: FetchFailed.
    """
    if file.path:
        return Path(file.path)
    begin = size_bytes(log)
    argv = [*_SELF, "fetch", file.repo, str(file.size_bytes), *file.files]
    child = spawn(argv, env, log, is_tethered=is_tethered)
    try:
        while child.is_running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await child.wait()
            far = _FAR.search("\n".join(tail(log, 1, since_byte=begin)))
            if far is not None and int(far[2]):
                progress(min(1.0, int(far[1]) / int(far[2])))
        code = await child.wait()
    except asyncio.CancelledError:
        await child.stop(1.0)
        raise
    said = [line for line in tail(log, since_byte=begin) if line.strip()]
    last = said[-1] if said else f"the fetch {how_it_ended(code)}"
    _, is_fetched, path = last.partition(FETCHED)
    if code != 0 or not is_fetched:
        raise FetchFailed(last.removeprefix("error: "))
    return Path(path)


_SELF = (sys.executable, "-P", "-m", "cortex.neuron.model_file.hub")


def main(argv: list[str]) -> int:
    """Do what the command line says: ``find REPO FILE QUANT`` or ``fetch REPO BYTES FILE…``."""
    command, repo, *rest = argv
    if command == "find":
        answer = _find(repo, *rest)
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        return 0 if answer.found else 1
    return _fetch(repo, int(rest[0]), rest[1:])


def _find(repo: str, file: str, quant: str) -> Lookup:
    try:
        import huggingface_hub
    except ImportError:
        return Lookup(trouble="huggingface-hub is not installed: pip install 'cortex-gateway[neuron]'")
    folder, cached = _cached(repo)
    chosen = choose_in_repo(cached, file or None, quant or DEFAULT_QUANT)
    if not isinstance(chosen, str):
        return Lookup(found=_hub_file(repo, chosen, cached, folder))
    try:
        info = huggingface_hub.HfApi().model_info(repo, files_metadata=True, timeout=10)
    except Exception as error:
        # What is here is not what was meant first, but all that can be had.
        chosen = choose_in_repo(cached, file or None, quant or None)
        if isinstance(chosen, str):
            return Lookup(trouble=_why(error))
        return Lookup(found=_hub_file(repo, chosen, cached, folder))
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    chosen = choose_in_repo(sizes, file or None, quant or None)
    if isinstance(chosen, str):
        return Lookup(trouble=chosen)
    # Of a repository with one quantisation, that one may be here all the same.
    return Lookup(found=_hub_file(repo, chosen, sizes, folder if set(chosen) <= set(cached) else None))


def _cached(repo: str) -> tuple[Path, dict[str, int]]:
    """Return the folder of a repository in the local cache, and the sizes of its GGUF files there."""
    import huggingface_hub

    try:
        folder = Path(huggingface_hub.snapshot_download(repo, local_files_only=True, allow_patterns=["*.gguf"]))
        return folder, {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*.gguf")}
    except Exception:  # not there, or half there: the hub knows better
        return Path(), {}


def _hub_file(repo: str, files: tuple[str, ...], sizes: Mapping[str, int], folder: Path | None) -> HubFile:
    whole = sum(sizes[name] for name in files)
    return HubFile(repo=repo, files=files, size_bytes=whole, path=str(folder / files[0]) if folder else None)


def _fetch(repo: str, size_bytes: int, files: list[str]) -> int:
    import huggingface_hub
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"
    paths: list[str] = []
    try:
        with _telling(lambda: _stored_bytes(paths) + _unfinished_bytes(blobs), size_bytes):
            for number, name in enumerate(files, 1):
                print(f"fetching {repo} {name} ({number} of {len(files)})", flush=True)
                paths.append(huggingface_hub.hf_hub_download(repo, name))
    except Exception as error:
        print(f"error: {repo}: {_why(error)}", flush=True)
        return 1
    print(FETCHED + paths[0], flush=True)
    return 0


@contextlib.contextmanager
def _telling(there: Callable[[], int], size_bytes: int) -> Iterator[None]:
    """Tell every now and then, until the block ends, how much is there of the whole."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(TOLD_S):
            print(f"fetched {there() // MIB} of {size_bytes // MIB} MiB", flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _stored_bytes(paths: list[str]) -> int:
    return sum(Path(path).stat().st_size for path in list(paths))


def _unfinished_bytes(blobs: Path) -> int:
    """Return what the library has of files that it is at; the blocks count, it may write them in any order."""
    total = 0
    for file in blobs.glob("*.incomplete"):
        with contextlib.suppress(OSError):  # finished meanwhile
            status = file.stat()
            total += min(status.st_size, status.st_blocks * 512)
    return total


def _why(error: Exception) -> str:
    """Return one line that says what to do; the hub's own errors are pages long."""
    name, status = type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
    if name == "GatedRepoError" or status == 403:
        return "the repository is gated: accept its terms, and set HF_TOKEN in the harness entry's env"
    if name == "RepositoryNotFoundError" or status in (401, 404):
        return "there is no such repository or file, or it is private (then set HF_TOKEN in the harness entry's env)"
    if status is not None:
        return f"Hugging Face answered {status}"
    if isinstance(error, OSError) and (error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return f"the file cannot be stored: {error}"
    first = next(iter(str(error).strip().splitlines()), "")[:200]
    if name == "HFValidationError":
        return first
    return (
        f"Hugging Face cannot be reached ({name}: {first}); "
        "copy the file to this node and give its path, or set HF_ENDPOINT to a mirror"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
