"""What becomes of a member of a request: the words for it, and how the tables of members become schemas."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from cortex.gateway.data.reference.shape import Schema

Effect = Literal["read", "passed", "translated", "done", "told", "ignored", "refused"]

EFFECTS: dict[Effect, str] = {
    "read": "the gateway goes by it, and the engine gets it too",
    "passed": "the engine gets it as it is; what it makes of it, or whether it refuses it, is the engine's business",
    "translated": "the engine gets it in the words of OpenAI chat that it understands",
    "done": "the gateway does it itself; no engine hears of it",
    "told": "it has no effect, and the answer tells it back",
    "ignored": "left out without a word",
    "refused": "a request that counts on it is answered with 400",
}
"""The values of ``x-cortex-effect``."""

assert tuple(EFFECTS) == get_args(Effect)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a request's body. ``schema`` None: that of the struct which the body is read into.

    ``example`` is a value with which the effect shows.
    """

    effect: Effect
    about: str = ""
    example: Any = None
    schema: Schema | None = None
    is_required: bool = False


Members = Mapping[str, Member]


def body_shape(about: str, members: Members, read: Schema | None = None) -> Schema:
    """Return the schema of a body; ``read``: that of the struct that it is read into, if there is one."""
    known = {} if read is None else read["properties"]
    return {
        "type": "object",
        "description": about,
        "properties": {
            name: _property(member, member.schema if member.schema is not None else known.get(name, {}))
            for name, member in members.items()
        },
        "required": [name for name, member in members.items() if member.is_required],
        "additionalProperties": True,
    }


def _property(member: Member, schema: Schema) -> Schema:
    made = {**schema, "x-cortex-effect": member.effect}
    if member.about:
        made["description"] = member.about
    if member.example is not None:
        made["examples"] = [member.example]
    return made
