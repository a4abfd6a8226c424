"""Calls of our own HTTP APIs: who may change something, and how a body or a query becomes a struct. For both daemons.

A call that changes something must carry JSON, and none that a browser sends for a web page is taken: the daemons serve
no pages, so every page is a foreign one.
"""

import json
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cortex.contract.error import BodyTooLarge, Forbidden, JsonRequired, MalformedRequest, UnsupportedEncoding
from cortex.kit.strict import did_you_mean

T = TypeVar("T", bound=msgspec.Struct)

MAX_BODY_BYTES = 1 << 20
"""More than any call of ours carries."""


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise Forbidden for what a browser sends for a web page of somebody else. Header names are in lower case."""
    if "origin" in headers:
        raise Forbidden(f"Calls of web pages are not served (Origin: {headers['origin'][:100]}).")


def check_change(headers: Mapping[str, str]) -> None:
    """Raise Forbidden, JsonRequired or UnsupportedEncoding for a call that may not change anything."""
    check_origin(headers)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise JsonRequired
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedEncoding


async def read_json(request: Request, kind: type[T]) -> T:
    """Return the body of a call that changes something; no body is an empty object.

    Raises: CallerError that says what would be right.
    """
    check_change(request.headers)
    body = await _read(request) or b"{}"
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        fields = ", ".join(kind.__struct_fields__) or "none"
        raise MalformedRequest(f"The body does not fit: {error}; its fields are: {fields}.") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedRequest(f"The body is no JSON: {_why_not_json(body, error)}.") from None


def read_query(request: Request, kind: type[T]) -> T:
    """Return the parameters of a call that only reads. Raises: MalformedRequest."""
    given = dict(request.query_params)
    for name in given:
        if name not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__) or "none"
            hint = did_you_mean(name, kind.__struct_fields__) or f"; known are: {known}"
            raise MalformedRequest(f"'{name[:100]}' is no parameter of this call{hint}.", param=name[:100])
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise MalformedRequest(f"The parameters do not fit: {error}.") from None


def json_response(body: object, status: int = 200) -> Response:
    """Return ``body`` as JSON."""
    return Response(msgspec.json.encode(body, enc_hook=str), status, media_type="application/json")


def _why_not_json(body: bytes, error: Exception) -> str:
    """Return a clause; msgspec takes half a surrogate pair for the end of the body."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it has half a character, one surrogate without the other"
    except (ValueError, RecursionError):
        pass
    return str(error)


async def _read(request: Request) -> bytes:
    said = request.headers.get("content-length", "0")
    body = bytearray()
    if not said.isdigit() or int(said) <= MAX_BODY_BYTES:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
        else:
            return bytes(body)
    raise BodyTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
