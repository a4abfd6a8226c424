"""What is done with keys: made, given another secret, ended. Each is asked for first; a secret is shown once."""

from typing import Any, get_args

import msgspec

from cortex.contract.error import CallerError, KeyForbidden, KeyNotFound, MalformedRequest
from cortex.contract.key import Key, KeyScope, KeyWish, LimitUse
from cortex.gateway.admin.dashboard.key_list import LIMIT_FIELDS, NO_STORE, limit_word, row_of
from cortex.gateway.admin.dashboard.page import Call, Desk, Query, Reply
from cortex.gateway.ports import Keys

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
DAY_S = 86400.0
FIRST = "The first key is made on the gateway's host: cortex keys create NAME --admin"


async def show_new_key(desk: Desk, _: Call) -> Reply:
    """Show the form for a key. Raises: KeyForbidden, CallerError."""
    await _after_the_first(desk)
    limits = [(name, limit_word(name)) for name in LIMIT_FIELDS]
    models = [model.id for model in desk.fleet.view().models]
    return Reply("key_new_sheet.html", {"scopes": SCOPES, "limits": limits, "models": models})


async def create_key(desk: Desk, call: Call) -> Reply:
    """Make a key. Raises: MalformedRequest, KeyForbidden, StoreUnavailable."""
    keys = await _after_the_first(desk)
    made = await keys.create(wish_of(call.form))
    return Reply("key_secret_sheet.html", {"made": made, "is_new": True})


async def show_key(desk: Desk, call: Call) -> Reply:
    """Ask whether a key is to be ended (``do=revoke``) or to get another secret. Raises: KeyNotFound."""
    key = await _key(desk, call.query.get("id", ""))
    row = row_of(key, desk.clock.epoch_s())
    return Reply(
        "key_sheet.html", {"row": row, "ends": call.query.get("do") == "revoke", "is_own": key.name == call.who}
    )


async def show_key_use(desk: Desk, call: Call) -> Reply:
    """Show how the limits of a key stand over all gateways. Raises: KeyNotFound, StoreUnavailable."""
    use = await _keys(desk).use_of(call.query.get("id", ""))
    rows = [(limit_word(one.limit), one, _share(one)) for one in use.limits]
    return Reply("key_use_sheet.html", {"use": use, "rows": rows})


def _share(one: LimitUse) -> float:
    """Return which part of a limit is taken, 0 to 1."""
    return min(1.0, (one.used + one.held) / one.bound) if one.bound else 1.0


async def revoke_key(desk: Desk, call: Call) -> Reply:
    """End a key. Raises: KeyNotFound, StoreUnavailable."""
    key = await _keys(desk).revoke(call.form.get("id", ""))
    said = f"The key {key.name} holds no longer."
    return Reply("done_sheet.html", {"about": f"Key {key.name}", "said": said, "reason": ""})


async def rotate_key(desk: Desk, call: Call) -> Reply:
    """Give a key another secret. Raises: KeyNotFound, CallerError, StoreUnavailable."""
    made = await _keys(desk).rotate(call.form.get("id", ""))
    return Reply("key_secret_sheet.html", {"made": made, "is_new": False})


def wish_of(form: Query) -> KeyWish:
    """Return what a form asks for. Raises: MalformedRequest that names the field."""
    limits = {name: _number(form, name, limit_word(name)) for name in LIMIT_FIELDS}
    days = _number(form, "days", "days")
    if days == 0:
        raise MalformedRequest("The days until it ends: expected 1 or more, or nothing for ever.", param="days")
    wanted: dict[str, Any] = {
        "name": form.get("name", "").strip(),
        "scope": form.get("scope", "inference"),
        "models": [line.strip() for line in form.get("models", "").replace(",", "\n").split("\n") if line.strip()],
        "queue_priority": _number(form, "queue_priority", "priority", may_be_less=True) or 0,
        "limits": {name: bound for name, bound in limits.items() if bound is not None},
        "expires_in_s": None if days is None else days * DAY_S,
    }
    try:
        return msgspec.convert(wanted, KeyWish)
    except msgspec.ValidationError as error:
        if "`$.name`" in str(error):
            words = "The name: expected up to 64 letters, digits and . _ @ + -, a letter or a digit first."
            raise MalformedRequest(words, param="name") from None
        raise MalformedRequest(f"The key cannot be made: {error}.") from None


def _number(form: Query, name: str, what: str, *, may_be_less: bool = False) -> int | None:
    text = form.get(name, "").strip().replace(" ", "").replace("_", "")
    if not text:
        return None
    digits = text.removeprefix("-") if may_be_less else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise MalformedRequest(f"{what}: expected a whole number, got {text[:40]!r}.", param=name)
    return int(text)


async def _after_the_first(desk: Desk) -> Keys:
    """Return the keys once there is one: whoever makes the first decides who may make others."""
    keys = _keys(desk)
    if not await keys.list_all():
        raise KeyForbidden(FIRST)
    return keys


async def _key(desk: Desk, key_id: str) -> Key:
    for key in await _keys(desk).list_all():
        if key.id == key_id:
            return key
    raise KeyNotFound("There is no such key any more: reload the page.")


def _keys(desk: Desk) -> Keys:
    if desk.keys is None:
        raise CallerError(NO_STORE)
    return desk.keys
