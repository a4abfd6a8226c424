"""Keys at hand: a book that a dashboard can be given, with an operator's key and a caller's."""

from cortex.contract.key import Key
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.key_secret import digest_of
from cortex.gateway.ports import KeyRecord

OPERATOR, CALLER = "ctx-operator", "ctx-caller"


def record(secret: str = OPERATOR, **what: object) -> KeyRecord:
    base = {"id": "key_op", "name": "olga", "shown": "ctx-oper", "scope": "admin"}
    return KeyRecord(digest_of(secret.encode()), Key(**(base | what)))  # type: ignore[arg-type]


CALLERS = record(CALLER, id="key_call", name="carl", scope="inference")


def book_of(*records: KeyRecord) -> MemoryKeyBook:
    book = MemoryKeyBook()
    book.take(records)
    return book
