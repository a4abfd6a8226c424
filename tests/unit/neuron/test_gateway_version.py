"""Gateways of versions too far away are logged, each once, and not for ever remembered."""

import logging

import pytest

from cortex.neuron.gateway_version import REMEMBERED, GatewayVersions


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_gateway_that_is_too_far_away_is_logged_once_until_its_version_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    versions = GatewayVersions("0.5.0")
    for version in ("0.3.0", "0.3.0", "0.4.0", "0.5.0", "0.7.0", "0.7.0", ""):
        versions.hear("g", version)
    assert ["0.3.0" in one or "0.7.0" in one for one in warnings(caplog)] == [True, True]
    assert all("gateway g" in one for one in warnings(caplog))


def test_gateways_without_number_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    versions = GatewayVersions("0.5.0")
    versions.hear("first", "0.3.0")
    for number in range(REMEMBERED):
        versions.hear(f"g{number}", "0.5.0")
    versions.hear("first", "0.3.0")
    assert len(warnings(caplog)) == 2
