"""Certificates that have changed are read anew once they stand still."""

import asyncio
from pathlib import Path

import pytest
from tests.certificate import Authority

from cortex.kit.tls import ServerTls, TlsFiles
from cortex.kit.tls_watch import LOOK_S, watch_tls


def test_a_change_is_taken_at_the_second_look_and_a_bad_one_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = ServerTls(TlsFiles(cert=pair.cert, key=pair.key))
    seen, slept = [], []

    def change() -> None:
        authority.issue("server", to=pair)

    def spoil() -> None:
        Path(pair.key).write_text("nothing")

    steps = {1: change, 5: spoil}

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        seen.append(tls.current)
        steps.get(len(slept), lambda: None)()
        if len(slept) == 10:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch_tls((tls,), sleep))
    assert set(slept) == {LOOK_S}
    first, second = seen[0], seen[-1]
    assert first is not second
    assert seen == [first] * 2 + [second] * 8
    assert caplog.text.count("TLS stays as it was") == 1
