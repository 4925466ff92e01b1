"""CRC-32C (Castagnoli), the checksum in TFRecord files, of a whole array of bytes at once.

Without the inversions at its ends a CRC is linear: that of a block is the exclusive or of what each byte contributes at
its place, and that of two neighbors is the left one's, moved on by the length of the right one, and the right one's.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c", "masked_crc32c"]

POLYNOMIAL = 0x82F63B78  # lowest bit first
ONES = 0xFFFFFFFF
BLOCK = 128  # bytes; the contributions of so many places (128 KiB) fit into a processor's second cache
SHORT = 64  # bytes up to which a loop is faster than an array

Words = NDArray[np.uint32]


def _eight_bits(words: Words) -> Words:
    for _ in range(8):
        words = np.where(words & 1, words >> 1 ^ np.uint32(POLYNOMIAL), words >> 1)
    return words


TABLE = _eight_bits(np.arange(256, dtype=np.uint32))  # of each byte, alone
STEPS = TABLE.tolist()


@cache
def _places() -> Words:
    """What each byte contributes at each place of a block: entry ``256 * place + byte``."""
    rows = [TABLE]
    for _ in range(BLOCK - 1):
        rows.append(TABLE[rows[-1] & 255] ^ rows[-1] >> 8)  # one zero byte further
    return np.concatenate(rows[::-1])


def _moved(crcs: Words, by: Words) -> Words:
    """CRCs, moved on by the length that the tables ``by`` stand for."""
    return by[0][crcs & 255] ^ by[1][crcs >> 8 & 255] ^ by[2][crcs >> 16 & 255] ^ by[3][crcs >> 24]


@cache
def _moves(doublings: int) -> Words:
    """Tables, of each byte of a CRC, that move it on by ``BLOCK * 2**doublings`` bytes."""
    if doublings:
        half = _moves(doublings - 1)
        return np.stack([_moved(table, half) for table in half])
    moved = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], dtype=np.uint32)
    for _ in range(BLOCK):
        moved = TABLE[moved & 255] ^ moved >> 8
    return moved


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of some bytes.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    n = len(data)
    if n <= SHORT:
        crc = ONES
        for byte in data:
            crc = STEPS[(crc ^ byte) & 255] ^ crc >> 8
        return crc ^ ONES
    blocks = -(-n // BLOCK)
    padded = np.zeros(blocks * BLOCK, dtype=np.uint8)  # zeros in front change nothing
    padded[-n:] = np.frombuffer(data, dtype=np.uint8)
    padded[-n:][:4] ^= 255  # the inversion at the start
    places = padded.reshape(blocks, BLOCK) + np.arange(0, 256 * BLOCK, 256)
    crcs = np.bitwise_xor.reduce(_places().take(places), axis=1)
    doublings = 0
    while len(crcs) > 1:
        if len(crcs) % 2:
            crcs = np.concatenate([np.zeros(1, dtype=np.uint32), crcs])
        crcs = _moved(crcs[::2], _moves(doublings)) ^ crcs[1::2]
        doublings += 1
    return int(crcs[0]) ^ ONES


def masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C as TFRecord files store it: turned right by 15 bits, and a constant added.

    Example:
        >>> hex(masked_crc32c(b""))
        '0xa282ead8'
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & ONES
