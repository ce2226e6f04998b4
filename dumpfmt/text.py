"""Text as Elektra stores it: bytes that are usually UTF-8, held as `str` without losing any byte.

Names, string values and metadata are C strings in Elektra: no NUL, no promise of UTF-8. They are decoded with
`surrogateescape` (PEP 383), so every byte sequence has exactly one `str` form and comes back unchanged.
"""

from __future__ import annotations


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def normal(text: str, what: str) -> str:
    """The one `str` form of `text`, so that equal bytes are equal strings.

    Raises ValueError when `text` cannot be a C string: it holds a NUL, or a surrogate that stands for no byte.
    """
    if "\0" in text:
        raise ValueError(
            f"{what} holds a NUL at index {text.index(chr(0))}: Elektra ends text there; use bytes instead"
        )
    if text.isascii():
        return text
    try:
        return decode(encode(text))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} holds the lone surrogate U+{ord(text[error.start]):04X} at index {error.start}, which stands for no byte"
        ) from None


def shown(data: bytes | str, limit: int = 60) -> str:
    """A quoted, printable view for messages, of at most `limit` bytes of `data`; an ellipsis says that more follows."""
    if isinstance(data, str):
        data = data[: limit + 1].encode(
            "utf-8", "surrogateescape" if _encodes(data[: limit + 1]) else "backslashreplace"
        )
    # Bytes that are no UTF-8 read best as the bytes they are.
    body = data[:limit].decode("utf-8", "backslashreplace")
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in body)
    return f"'{printable}'" + ("…" if len(data) > limit else "")


def _encodes(text: str) -> bool:
    try:
        encode(text)
    except UnicodeEncodeError:
        return False
    return True
