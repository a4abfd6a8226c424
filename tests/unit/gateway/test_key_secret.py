"""What the secrets of keys are like."""

import re

from cortex.gateway.key_secret import digest_of, new_secret, shown_of


def test_a_secret_has_256_bits_and_fits_a_header() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"ctx-[A-Za-z0-9_-]{43}", secret) for secret in made)


def test_neither_what_is_kept_nor_what_is_shown_gives_it_away() -> None:
    secret = new_secret()
    assert digest_of(secret.encode()) == digest_of(secret.encode()) != digest_of(b"ctx-")
    assert secret.encode() not in digest_of(secret.encode())
    assert (shown_of(secret), len(shown_of(secret))) == (secret[:8], 8)
