"""Files of a request, read into memory within limits and kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from petmood.serve.refusals import RefusalError

#: What a form adds to its files: boundaries and headers.
_FORM = 64 * 1024


def announced(request: Request, most: int) -> int:
    """Bytes that a request says it brings, checked before any of them is read.

    Raises:
        RefusalError: it does not say, or too many.
    """
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdecimal()):
        raise RefusalError("no_length")
    if int(text) > most + _FORM:
        raise RefusalError("too_large")
    return int(text)


async def read_files(request: Request, *, most: int, count: int = 1, seconds: float) -> list[bytes]:
    """The files of a request, as form fields or as its body, in order.

    Args:
        request: not read yet; `announced` has let it through.
        most: bytes of all files together.
        count: files at most.
        seconds: for all of it.

    Raises:
        RefusalError: none, too many, too large, too slow, or a form that cannot be read.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    try:
        async with asyncio.timeout(seconds):
            if kind == b"multipart/form-data":
                return await _from_form(request, most, count)
            data = b"".join([chunk async for chunk in _limited(request, most)])
    except TimeoutError:
        raise RefusalError("slow_upload") from None
    except ClientDisconnect:
        raise RefusalError("bad_form") from None
    if not data:
        raise RefusalError("no_file")
    return [data]


async def _from_form(request: Request, most: int, count: int) -> list[bytes]:
    # One file more than allowed is read, to tell too many from a broken form.
    parser = MultiPartParser(request.headers, _limited(request, most + _FORM), max_files=count + 1, max_fields=8)
    parser.spool_max_size = most + _FORM + 1  # never on a disk
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, UnicodeError, AssertionError, IndexError):
        raise RefusalError("bad_form") from None
    files = [await value.read() for _, value in form.multi_items() if isinstance(value, UploadFile)]
    await form.close()
    if len(files) > count:
        raise RefusalError("too_many_files")
    if not files:
        raise RefusalError("no_file")
    return files


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body of a request; a length that was announced wrongly does not help."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > most:
            raise RefusalError("too_large")
        yield chunk
