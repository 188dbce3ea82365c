"""Rows of the index: a value that is not the one that was stored is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.store.rows import content_of, row


@given(st.binary(max_size=20), st.binary(max_size=40), st.data())
def test_a_changed_row_is_no_row(name: bytes, content: bytes, data: st.DataObject) -> None:
    """A row is read as it was stored; with another byte, cut, or under another name it is none."""
    value = row(name, content)
    assert content_of(name, value) == content
    at = data.draw(st.integers(0, len(value) - 1))
    flipped = bytes([value[at] ^ data.draw(st.integers(1, 255))])
    assert content_of(name, value[:at] + flipped + value[at + 1 :]) is None
    assert content_of(name, value[:at]) is None
    assert content_of(name + b"x", value) is None
    assert content_of(name, None) is None
