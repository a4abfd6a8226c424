"""The scenes of the gateway's integration tests, on every loop."""

from tests.integration.gateway.conftest import loop_factory

__all__ = ["loop_factory"]
