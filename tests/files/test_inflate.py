"""Compressed bytes: every byte or an error, in bounded pieces."""

from __future__ import annotations

import gzip
import os

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow.errors import Reject
from misoflow.files import Truncated, inflate

from tests.files.kit import pieces, until_trouble

TEXT = b"".join(b'{"n":%d,"t":"\xe2\x80\xa8"}\n' % n for n in range(300))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS = {"gzip": gzip.compress, "zstd": zstd, "plain": bytes}
SKIPPABLE = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"


def whole(chunks: list[bytes], compressed: bool = False) -> bytes:
    return b"".join(inflate(chunks, compressed=compressed))


@settings(deadline=None)
@given(
    parts=st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    packer=st.sampled_from(["gzip", "zstd"]),
    seed=st.integers(0, 1000),
)
def test_members_in_a_row_are_one_file_however_they_are_cut(parts: list[bytes], packer: str, seed: int) -> None:
    packed = b"".join(PACKERS[packer](part) for part in parts)
    assert whole(pieces(packed, seed)) == b"".join(parts)


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_a_file_cut_anywhere_is_never_taken_for_complete(packer: str) -> None:
    packed = PACKERS[packer](TEXT)
    for cut in range(len(packed)):
        with pytest.raises(Truncated):
            whole([packed[:cut]], compressed=True)
    assert whole([packed], compressed=True) == TEXT


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_a_second_member_cut_anywhere_is_found_too(packer: str) -> None:
    first, second = PACKERS[packer](TEXT[:1000]), PACKERS[packer](TEXT[1000:])
    for cut in range(1, len(second)):
        with pytest.raises(Truncated):
            whole([first, second[:cut]])
    assert whole([first + second]) == TEXT


def test_what_was_read_before_the_cut_is_given_out() -> None:
    got, error = until_trouble(inflate([gzip.compress(TEXT), gzip.compress(TEXT)[:-9]]))
    assert b"".join(got).startswith(TEXT)
    assert isinstance(error, Truncated)


def test_the_first_bytes_decide_not_the_name() -> None:
    assert whole([TEXT], compressed=True) == TEXT
    assert whole([gzip.compress(TEXT)], compressed=False) == TEXT
    assert whole([]) == b""


@pytest.mark.parametrize("at", [20, 200, -6])
def test_a_changed_byte_is_damage(at: int) -> None:
    for packer in ("gzip", "zstd"):
        packed = bytearray(PACKERS[packer](os.urandom(400)))
        packed[at] ^= 1
        with pytest.raises((Reject, Truncated)):
            whole([bytes(packed)])


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_what_follows_the_last_member_must_be_one(packer: str) -> None:
    with pytest.raises((Reject, Truncated)):
        whole([PACKERS[packer](TEXT) + b'{"lost": 1}\n' * 5])


def test_members_that_end_inside_of_a_large_chunk_lose_nothing() -> None:
    parts = [os.urandom(size) for size in (5000, 1, 70_000, 2048)]
    for packer in ("gzip", "zstd"):
        assert whole([b"".join(PACKERS[packer](part) for part in parts)]) == b"".join(parts)


def test_zeros_behind_gzip_are_padding_and_skippable_frames_hold_nothing() -> None:
    assert whole([gzip.compress(TEXT), b"\0" * 700, b"\0"]) == TEXT
    assert whole([SKIPPABLE + zstd(TEXT) + SKIPPABLE]) == TEXT


@pytest.mark.parametrize(("packer", "most"), [("gzip", 1024**2), ("zstd", 80 * 1024**2)])
def test_a_bomb_comes_in_bounded_pieces(packer: str, most: int) -> None:
    size = 200 * 1024**2
    sizes = [len(piece) for piece in inflate([PACKERS[packer](bytes(size))])]
    assert sum(sizes) == size
    assert max(sizes) <= most
