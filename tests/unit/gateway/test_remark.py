"""What is said of a configuration that is allowed and hardly meant."""

from typing import Any

import pytest

from cortex.contract.profile import Profile
from cortex.gateway.remark import remarks
from cortex.gateway.settings import GatewaySettings, load_gateway_settings

NODE = {"CORTEX_NEURONS": '[{"name": "beast", "endpoint": "http://beast:9090"}]'}


def settings(**env: str) -> GatewaySettings:
    return load_gateway_settings(None, NODE | env)


def a_model(**keys: Any) -> Profile:
    return Profile(**({"id": "m", "harness": "h"} | keys))


def test_a_configuration_that_means_what_it_says_gets_none() -> None:
    assert remarks(settings(), [a_model(pinned_on=("beast",))]) == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CORTEX_NEURONS", "[]", "no [[neurons]]: every request will be answered 503"),
        ("CORTEX_GATEWAY__LISTEN", "[::1]:9100", "listen and metrics_listen have the same port"),
    ],
)
def test_what_is_hardly_meant_is_said(variable: str, value: str, said: str) -> None:
    assert remarks(settings(**{variable: value}), []) == [said]


def test_a_model_that_is_pinned_nowhere_is_named() -> None:
    said = remarks(settings(), [a_model(pinned_on=("beast", "ghost", "a"))])
    assert said == ["m is pinned on a, ghost, which is no name under [[neurons]]"]


def test_that_every_page_may_use_a_gateway_without_keys_is_said() -> None:
    all_pages = {"CORTEX_GATEWAY__CORS_ORIGINS": '["*"]'}
    (said,) = remarks(settings(**all_pages), [])
    assert said.startswith('cors_origins = ["*"] without keys')
    assert remarks(settings(**all_pages, CORTEX_STORE__URL="sqlite:////tmp/x.db"), []) == []
    assert remarks(settings(CORTEX_GATEWAY__CORS_ORIGINS='["https://chat.example.org"]'), []) == []
