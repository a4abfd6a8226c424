"""Which headers pass in either direction, and that none can be smuggled."""

import pytest

from cortex.gateway.data.header import content_length, content_type, to_client, to_engine, valid_request_id


def test_an_engine_sees_what_the_request_is_about() -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream"),
        (b"user-agent", b"OpenAI/Python"),
        (b"traceparent", b"00-1-2-01"),
        (b"x-empty", b""),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
        (b"x-bytes", b"\xc3\xa9\xff"),
    ]
    lines = to_engine(headers)
    assert lines == b"".join(b"%b: %b\r\n" % header for header in headers)


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"http2-settings",
        b"expect",
        b"proxy-authorization",
        b"proxy-connection",
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"cookie",
        b"accept-encoding",
        b"x-conversation-id",
        b"x-request-id",
    ],
)
def test_an_engine_sees_no_credential_no_framing_and_nothing_that_changes_how_it_cancels(name: bytes) -> None:
    assert to_engine([(b"accept", b"x"), (name, b"close"), (b"x-a", b"y")]) == b"accept: x\r\nx-a: y\r\n"


def test_no_engine_says_which_web_pages_may_read_an_answer() -> None:
    asked = [(b"origin", b"http://page.example"), (b"access-control-request-method", b"POST"), (b"accept", b"x")]
    assert to_engine(asked) == b"accept: x\r\n"
    said = [
        (b"access-control-allow-origin", b"http://page.example"),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"origin"),
    ]
    assert to_client(said) == b"vary: origin\r\n"


@pytest.mark.parametrize(
    "connections",
    [
        [b"X-Hop"],
        [b"keep-alive, x-hop"],
        [b"close,X-HOP , other"],
        [b"keep-alive", b"x-hop"],
        [b"x-other", b"x-hop"],
    ],
)
def test_what_connection_names_is_meant_for_the_next_hop_only(connections: list[bytes]) -> None:
    headers = [(b"x-hop", b"1"), *((b"connection", value) for value in connections), (b"x-far", b"2")]
    assert to_engine(headers) == b"x-far: 2\r\n"
    assert to_client(headers) == b"x-far: 2\r\n"


def test_no_other_header_names_any() -> None:
    assert to_engine([(b"cookie", b"accept"), (b"accept", b"x")]) == b"accept: x\r\n"


@pytest.mark.parametrize("value", [b"keep-alive", b"Close", b"Keep-Alive", b""])
def test_a_usual_connection_header_names_nothing_else(value: bytes) -> None:
    assert to_engine([(b"connection", value), (b"accept", b"x")]) == b"accept: x\r\n"


def test_a_client_sees_the_engines_headers_without_framing() -> None:
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"x-request-id", b"the engine's"),
        (b"x-accel-buffering", b"no"),
        (b"server", b"llama.cpp"),
    ]
    assert to_client(headers) == b"content-type: text/event-stream\r\nx-accel-buffering: no\r\nserver: llama.cpp\r\n"


def test_no_headers_are_no_lines() -> None:
    assert to_engine([]) == to_client([]) == b""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"application/json", b"application/json"),
        (b"Application/JSON; charset=utf-8", b"application/json"),
        (b" text/event-stream ;x", b"text/event-stream"),
        (b"", b""),
    ],
)
def test_a_media_type_is_read_without_its_parameters(value: bytes, kind: bytes) -> None:
    assert content_type([(b"x", b"y"), (b"content-type", value)]) == kind


def test_an_answer_may_declare_no_type_and_no_length() -> None:
    assert content_type([]) == b""
    assert content_length([(b"x", b"1")]) is None
    assert content_length([(b"content-length", b"12 ")]) == 12


@pytest.mark.parametrize("value", [b"a", b"req-1", b"x" * 128, b'{"a"}', b"0b1e:7/=="])
def test_a_request_id_that_can_be_logged_is_taken_over(value: bytes) -> None:
    assert valid_request_id(value) == value


@pytest.mark.parametrize(
    "value", [None, b"", b"x" * 129, b"a b", b"a\r\nx: y", b"a\nb", b"a\n", b"\xc3\xa9", b"\x7f", b"a\x00", b"a\t"]
)
def test_any_other_request_id_is_not(value: bytes | None) -> None:
    assert valid_request_id(value) is None
