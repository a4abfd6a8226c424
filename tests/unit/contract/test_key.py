"""What a key may be called: all of the name, a line break at its end included."""

import msgspec
import pytest

from cortex.contract.key import KeyName


@pytest.mark.parametrize("name", ["alice", "a", "A.b_c@d+e-f", "x" * 64])
def test_a_keys_name_is_taken(name: str) -> None:
    assert msgspec.convert(name, KeyName) == name


@pytest.mark.parametrize("name", ["alice\n", "\nalice", "a\nb", "alice\r\n", "", "-a", "x" * 65, "a b", "<script>"])
def test_a_keys_name_that_would_break_a_line_or_a_command_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, KeyName)
