"""JSON for scripts: indented for one answer, a line each for a stream of them."""

import msgspec


def print_json(value: object) -> None:
    """Print one value."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_json_line(value: object) -> None:
    """Print one value of many, at once."""
    print(msgspec.json.encode(value).decode(), flush=True)
