"""Under which address a caller gets to a model."""

import pytest

from cortex.neuron.endpoint import Call, Endpoints, Reach, bracketed, is_loopback, is_same_host, plain

LOCAL = Reach("llamacpp", "http://127.0.0.1:8100/i/abc", 3, "m", "abc")
FOREIGN = Reach("openai", "https://gpu.example:8443", 0, "m", "def")
HERE = Call("127.0.0.1", "127.0.0.1", 9090)
THERE = Call("10.0.0.9", "10.0.0.5", 9090)
THERE_V6 = Call("fd00::9", "fd00::5", 9090)


@pytest.mark.parametrize(
    ("url", "call", "advertise", "expected"),
    [
        (LOCAL.url, HERE, None, "http://127.0.0.1:8100/i/abc"),
        (LOCAL.url, HERE, "beast", "http://127.0.0.1:8100/i/abc"),
        (LOCAL.url, Call("10.0.0.5", "10.0.0.5", 9090), None, "http://127.0.0.1:8100/i/abc"),
        (LOCAL.url, THERE, None, "http://10.0.0.5:8100/i/abc"),
        (LOCAL.url, THERE, "beast", "http://beast:8100/i/abc"),
        (LOCAL.url, THERE_V6, None, "http://[fd00::5]:8100/i/abc"),
        (LOCAL.url, Call("::ffff:10.0.0.9", "::ffff:10.0.0.5", 9090), None, "http://10.0.0.5:8100/i/abc"),
        (LOCAL.url, THERE, "fd00::7", "http://[fd00::7]:8100/i/abc"),
        ("http://localhost:8080", THERE, None, "http://10.0.0.5:8080"),
        ("http://[::1]:8080", THERE, None, "http://10.0.0.5:8080"),
        ("http://localhost", THERE, None, "http://10.0.0.5"),
        ("http://10.0.0.1:8100/i/abc", THERE, None, "http://10.0.0.1:8100/i/abc"),
        (FOREIGN.url, THERE, "beast", "https://gpu.example:8443"),
        (FOREIGN.url, HERE, None, "https://gpu.example:8443"),
    ],
)
def test_a_loopback_address_never_leaves_its_host(url: str, call: Call, advertise: str | None, expected: str) -> None:
    answer = Endpoints("0.0.0.0", advertise, ()).answer(LOCAL._replace(url=url), call)
    assert (answer.url, answer.generation, answer.engine_model) == (expected, 3, "m")


def test_engines_on_the_neurons_own_address_are_advertised_like_it() -> None:
    reach = LOCAL._replace(url="http://10.0.0.5:8100/i/abc")
    assert Endpoints("10.0.0.5", "beast", ()).answer(reach, THERE).url == "http://beast:8100/i/abc"
    assert Endpoints("10.0.0.5", None, ()).answer(reach, THERE).url == "http://10.0.0.5:8100/i/abc"


@pytest.mark.parametrize(
    ("call", "advertise", "expected"),
    [
        (HERE, None, "http://127.0.0.1:9090/relay/abc"),
        (HERE, "beast", "http://127.0.0.1:9090/relay/abc"),
        (THERE, None, "http://10.0.0.5:9090/relay/abc"),
        (THERE, "beast", "http://beast:9090/relay/abc"),
        (THERE_V6, None, "http://[fd00::5]:9090/relay/abc"),
    ],
)
def test_a_relayed_entry_is_reached_under_the_neurons_own_port(
    call: Call, advertise: str | None, expected: str
) -> None:
    assert Endpoints("0.0.0.0", advertise, ("llamacpp",)).answer(LOCAL, call).url == expected


KEYED = LOCAL._replace(credential="k3y")


def test_a_key_is_told_to_a_caller_that_showed_a_credential() -> None:
    answer = Endpoints("0.0.0.0", None, ()).answer(KEYED, THERE._replace(is_authenticated=True))
    assert (answer.url, answer.credential) == ("http://10.0.0.5:8100/i/abc", "k3y")


@pytest.mark.parametrize("call", [HERE, THERE], ids=["from this host", "from another"])
def test_a_caller_without_a_credential_is_relayed_instead_and_hears_no_key(call: Call) -> None:
    answer = Endpoints("0.0.0.0", None, ()).answer(KEYED, call)
    assert (answer.url, answer.credential) == (f"http://{call.server}:9090/relay/abc", None)


def test_who_is_relayed_anyway_needs_no_key() -> None:
    answer = Endpoints("0.0.0.0", None, ("llamacpp",)).answer(KEYED, THERE._replace(is_authenticated=True))
    assert (answer.url, answer.credential) == ("http://10.0.0.5:9090/relay/abc", None)


def test_only_entries_that_say_so_are_relayed() -> None:
    assert "/relay/" not in Endpoints("0.0.0.0", None, ("other",)).answer(LOCAL, THERE).url


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
        ("LOCALHOST.", True), ("10.0.0.1", False), ("0.0.0.0", False), ("beast.example", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_in_all_its_spellings(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_caller_on_the_neurons_own_address_is_on_its_host() -> None:
    assert is_same_host(Call("::ffff:10.0.0.5", "10.0.0.5", 1))
    assert not is_same_host(Call("10.0.0.6", "10.0.0.5", 1))


def test_hosts_are_written_as_urls_want_them() -> None:
    assert [bracketed(host) for host in ("10.0.0.1", "::1", "a.example", "::ffff:10.0.0.1")] == [
        "10.0.0.1", "[::1]", "a.example", "10.0.0.1",
    ]  # fmt: skip
    assert plain("a.example") == "a.example"


def test_a_caller_is_told_what_engine_it_will_meet() -> None:
    reach = LOCAL._replace(kind="llamacpp", context=8192)
    answer = Endpoints("0.0.0.0", None, ()).answer(reach, THERE)
    assert (answer.kind, answer.context) == ("llamacpp", 8192)


@pytest.mark.parametrize(
    ("name", "advertise", "expected"),
    [
        ("gpu1.example:9090", None, "https://gpu1.example:9090/relay/abc"),
        ("gpu1.example", None, "https://gpu1.example/relay/abc"),
        ("gpu1.example:9090", "beast", "https://beast:9090/relay/abc"),
        ("[fd00::5]:9090", None, "https://[fd00::5]:9090/relay/abc"),
        ("gpu1.example:9090", "fd00::7", "https://[fd00::7]:9090/relay/abc"),
    ],
)
def test_by_tls_a_relay_has_the_name_that_the_caller_has_checked(
    name: str, advertise: str | None, expected: str
) -> None:
    call = THERE._replace(tls_name=name)
    assert Endpoints("0.0.0.0", advertise, ("llamacpp",)).answer(LOCAL, call).url == expected
