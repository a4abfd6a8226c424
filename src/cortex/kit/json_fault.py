"""What decoding JSON that somebody else has written may raise: msgspec's own error is not all of it.

Bytes that are no UTF-8 are Python's own error, and so is what is nested deeper than it goes (msgspec 0.22). An answer
or a file of somebody else's is to fail as that alone, not as a defect of ours.
"""

import msgspec

NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""For ``except``: it is no JSON, or none of the shape that was asked for."""
