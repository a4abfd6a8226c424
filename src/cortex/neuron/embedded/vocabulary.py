"""The tokens of the tiny models: about one per printable character, so that token counts are about character counts.

A SentencePiece vocabulary ("llama" to GGUF), because it needs the least metadata: no merges, no pre-tokenizer. The 256
byte tokens make any input encodable; only printable tokens are ever likely to come out (see ``weight.py``).
"""

from typing import NamedTuple

import gguf

BOS = 1
EOS = 2
END_OF_TURN = b"<|im_end|>"
TOOLS = b"<tools>"
TOOL_CALL = b"<tool_call>"
TOOL_RESPONSE = b"<tool_response>"
NEWLINE = b"<0x0A>"
SPACE = "\u2581".encode()
"""SentencePiece's own sign for a space."""


class Vocabulary(NamedTuple):
    """Parallel columns, as GGUF stores them; the position is the token's id."""

    tokens: tuple[bytes, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]

    def id_of(self, token: bytes) -> int:
        """Return the id of ``token``; ValueError when there is none."""
        return self.tokens.index(token)


def build_vocabulary() -> Vocabulary:
    """Return the 360 tokens: specials, bytes, chat markers, tool markers, space and printable ASCII."""
    kind = gguf.TokenType
    rows = [(b"<unk>", 0.0, kind.UNKNOWN), (b"<s>", 0.0, kind.CONTROL), (b"</s>", 0.0, kind.CONTROL)]
    rows += [(b"<0x%02X>" % byte, 0.0, kind.BYTE) for byte in range(256)]
    rows += [(marker, 0.0, kind.CONTROL) for marker in (b"<|im_start|>", END_OF_TURN)]
    rows += [(marker, 0.0, kind.USER_DEFINED) for marker in (TOOLS, TOOL_CALL, TOOL_RESPONSE)]
    rows.append((SPACE, -1.0, kind.NORMAL))
    rows += [(bytes([code]), -1.0, kind.NORMAL) for code in range(0x21, 0x7F)]
    tokens, scores, kinds = zip(*rows, strict=True)
    return Vocabulary(tokens, scores, tuple(int(value) for value in kinds))
