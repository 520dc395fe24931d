"""A smaller PNG of a screenshot: at most 256 colours, for `make pictures`."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL = 3
"""Bytes of a pixel of a screenshot: red, green and blue."""


def compact(path: Path) -> None:
    """Rewrite a screenshot with the 256 colours that it has most often, and one of each hue; any other becomes the
    nearest of these."""
    chunks = list(_chunks(path.read_bytes()))
    width, height = struct.unpack(">II", chunks[0][1][:8])
    rows = _rows(zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT")), width * PIXEL)
    lines = [[row[start : start + PIXEL] for start in range(0, len(row), PIXEL)] for row in rows]
    counts = Counter(pixel for line in lines for pixel in line)
    pixels = [pixel for pixel, _ in counts.most_common()]
    hues = {
        tuple(value >> 5 for value in pixel): pixel for pixel in reversed(pixels)
    }  # rare ones, too, such as in a legend
    palette = list(dict.fromkeys([*hues.values(), *pixels]))[:256]
    number = {pixel: min(range(len(palette)), key=lambda n: _distance(pixel, palette[n])) for pixel in counts}
    data = b"".join(b"\0" + bytes(number[pixel] for pixel in line) for line in lines)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(data, 9)), (b"IEND", b""))
    path.write_bytes(SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts))


def _distance(first: bytes, second: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the body of each chunk."""
    position = len(SIGNATURE)
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        yield kind, png[position + 8 : position + 8 + length]
        position += length + 12


def _rows(data: bytes, length: int) -> Iterator[bytes]:
    """The rows of pixels without PNG's filters, which store a byte as the difference from its neighbours."""
    above = bytes(length)
    for start in range(0, len(data), length + 1):
        kind, row = data[start], bytearray(PIXEL) + data[start + 1 : start + 1 + length]
        upper = bytes(PIXEL) + above
        for n in range(PIXEL, len(row)):
            a, b, c = row[n - PIXEL], upper[n], upper[n - PIXEL]
            row[n] = (row[n] + (0, a, b, (a + b) // 2, _paeth(a, b, c))[kind]) & 255
        above = bytes(row[PIXEL:])
        yield above


def _paeth(a: int, b: int, c: int) -> int:
    """The one of left, upper and upper left that is nearest to left + upper - upper left."""
    return min((a, b, c), key=lambda value: abs(a + b - c - value))
