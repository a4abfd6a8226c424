"""Keeps what collecting the tests has made out of the garbage collector's way.

Thousands of tests with their modules are a million objects that stay until the end; every full collection of a test
would look at each of them. Only those are spared: what a test leaves is collected, and told, as ever.
"""

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are found, then all of it at once, and set aside what is left."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        set_aside()


def set_aside() -> None:
    """Collect the garbage there is; what is left is looked at no more."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
