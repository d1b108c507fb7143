"""Inflates gzip within a limit: a few kilobytes could become gigabytes.

Source: RFC 1952, of which one member is taken, as HTTP clients send.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator

_FIRST, _STEP = 64 * 2**10, 2**20  # bytes; only the first ones are inflated in the thread of the event loop
_GZIP = 16 + zlib.MAX_WBITS


class NotGzip(ValueError):
    """A body that is not one complete gzip member."""


class TooLong(ValueError):
    """A body that becomes larger than the limit."""


async def inflate(body: bytes, limit: int) -> AsyncIterator[bytes]:
    """Yield the content of a gzip body in pieces; never more than `limit` bytes. Errors: NotGzip, TooLong."""
    stream, left, size = zlib.decompressobj(_GZIP), body, 0
    try:
        piece = stream.decompress(left, _FIRST)
        while piece:
            size += len(piece)
            if size > limit:
                raise TooLong
            yield piece
            left = stream.unconsumed_tail
            piece = await asyncio.to_thread(stream.decompress, left, min(_STEP, limit - size + 1))
    except zlib.error:
        msg = "the body is not valid gzip"
        raise NotGzip(msg) from None
    if not stream.eof:
        msg = "the body ends before its gzip does"
        raise NotGzip(msg)
    if stream.unused_data:
        msg = "the body goes on after its gzip; send one gzip member"
        raise NotGzip(msg)
