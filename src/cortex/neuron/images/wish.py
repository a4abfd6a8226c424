"""What a client asks for with ``POST /v1/images/generations``: read, checked, and turned into values for a workflow.

OpenAI's fields, and ``seed`` and ``negative_prompt``, which servers of diffusion models take besides. What is asked for
and cannot be had is refused; fields that only tune (``quality``, ``style``, ``user``) are passed over.
"""

import msgspec

from cortex.contract.error import MalformedRequest
from cortex.neuron.images.workflow import Workflow, places

MOST_IMAGES = 10
"""As OpenAI has it."""
LONGEST_PROMPT = 32_000
"""Characters; as OpenAI has it."""
SIDES = range(64, 4097, 8)
"""Latent spaces are eight times smaller than their images."""
MOST_PIXELS = 2048 * 2048
SEEDS = 1 << 63
OTHERWISE: dict[str, object] = {"NEGATIVE_PROMPT": "", "WIDTH": 1024, "HEIGHT": 1024}
"""What stands in a workflow for what neither the request nor the template says."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a generation."""

    prompt: str
    model: str | None = None
    n: int | None = None
    size: str | None = None
    response_format: str | None = None
    output_format: str | None = None
    stream: bool | None = None
    seed: int | None = None
    negative_prompt: str | None = None

    @property
    def count(self) -> int:
        """How many images are wanted."""
        return 1 if self.n is None else self.n

    def values(self) -> dict[str, object]:
        """Return what the request itself says, by placeholder; seed and number of images are the runs' matter."""
        found: dict[str, object] = {"PROMPT": self.prompt}
        if self.negative_prompt is not None:
            found["NEGATIVE_PROMPT"] = self.negative_prompt
        if self.size not in (None, "auto"):
            found["WIDTH"], found["HEIGHT"] = _sides(str(self.size))
        return found


def read_wish(body: bytes, template: Workflow) -> Wish:
    """Return the request in ``body``, checked against what the workflow can do. Raises: MalformedRequest."""
    try:
        wish = msgspec.json.decode(body, type=Wish)
    except msgspec.ValidationError as error:
        raise MalformedRequest(str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(f"The body is not JSON: {error}") from None
    _check_texts(wish)
    _check_numbers(wish)
    _check_template(wish, places(template))
    return wish


def _check_texts(wish: Wish) -> None:
    if not wish.prompt.strip():
        raise _wrong("prompt", "expected some text")
    for name, text in (("prompt", wish.prompt), ("negative_prompt", wish.negative_prompt or "")):
        if len(text) > LONGEST_PROMPT:
            raise _wrong(name, f"expected at most {LONGEST_PROMPT} characters, got {len(text)}")
    if wish.response_format not in (None, "b64_json", "url"):
        raise _wrong("response_format", f"expected b64_json or url, got {wish.response_format}")
    if wish.output_format not in (None, "png"):
        raise _wrong("output_format", f"images are png here, not {wish.output_format}")
    if wish.stream:
        raise _wrong("stream", "images are not streamed here, leave it out")


def _check_numbers(wish: Wish) -> None:
    if not 1 <= wish.count <= MOST_IMAGES:
        raise _wrong("n", f"expected 1 to {MOST_IMAGES}, got {wish.n}")
    if wish.seed is not None and not 0 <= wish.seed < SEEDS:
        raise _wrong("seed", "expected a whole number from 0 to 2^63 - 1")
    wish.values()


def _check_template(wish: Wish, there: frozenset[str]) -> None:
    """Refuse what the workflow has no place for: the image would not be what was asked for."""
    fixed = [name for name, value in wish.values().items() if name not in there]
    if "NEGATIVE_PROMPT" in fixed:
        raise _wrong("negative_prompt", "the workflow of this model has no place for it, leave it out")
    if fixed:
        raise _wrong("size", "the workflow of this model has a size of its own, leave it out")
    if wish.seed is not None and "SEED" not in there:
        raise _wrong("seed", "the workflow of this model has a seed of its own, leave it out")
    if wish.count > 1 and not there & {"SEED", "N"}:
        raise _wrong("n", "the workflow of this model makes always the same image, ask for one")


def _sides(text: str) -> tuple[int, int]:
    """Return width and height. Raises: MalformedRequest."""
    width, _, height = text.partition("x")
    if all(side.isascii() and side.isdigit() and len(side) < 5 and int(side) in SIDES for side in (width, height)):
        if int(width) * int(height) > MOST_PIXELS:
            raise _wrong("size", f"expected at most {MOST_PIXELS} pixels, got {text}")
        return int(width), int(height)
    limits = f"multiples of {SIDES.step} from {SIDES[0]} to {SIDES[-1]}"
    raise _wrong("size", f"expected <width>x<height>, {limits}, or auto; got {text[:40]}")


def _wrong(field: str, words: str) -> MalformedRequest:
    return MalformedRequest(f"{field}: {words}.", param=field)
