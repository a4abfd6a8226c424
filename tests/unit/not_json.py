"""Answers that are no JSON, for which msgspec has no error of its own."""

NO_TEXT = b'{"data":[{"id":"\xff"}],"error":{"code":"\xff","message":"\xff"},"status":"\xff","version":"\xff"}'
ENDLESS = b'{"more":' + b"[" * 100_000 + b"]" * 100_000 + b',"data":[]}'
