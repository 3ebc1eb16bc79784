"""Files from their official source: checked, resumed, and there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supple.errors import DataError
from supple.progress import Event, Progress

__all__ = ["download"]

_PIECE_BYTES = 1 << 16


def download(
    url: str,
    target: Path,
    *,
    checksum: str,
    progress: Progress | None = None,
    timeout_s: float = 30.0,
    instead: str = "",
) -> Path:
    """Get ``url`` into the file ``target``, unless it is there.

    What has come is kept in ``target`` with ``.part`` added; a download that was cut off goes on
    from there. The file gets its name once its checksum is right.

    Args:
        url: Where it is.
        target: The file to write; its folder is made.
        checksum: ``sha256:…`` or ``md5:…`` of the whole file, in hexadecimal.
        progress: Told how many bytes have come.
        timeout_s: Longest wait for the server's next bytes.
        instead: What to do where the source cannot be reached; ends the error's message.

    Raises:
        DataError: It cannot be reached, is cut off, or is not what the checksum says.
    """
    if target.exists():
        return target
    part = target.with_name(target.name + ".part")
    by_hand = instead or f"download {url} by hand and put it at {target}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, progress, timeout_s)
        _check(url, part, checksum, by_hand)
        os.replace(part, target)
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"The file {url} cannot be downloaded: {reason}.",
            why="The source cannot be reached from here, or the disk cannot hold it.",
            hint=by_hand,
            url=url,
            target=str(target),
        ) from error
    return target


def _receive(url: str, part: Path, progress: Progress | None, timeout_s: float) -> None:
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _open(url, have, timeout_s)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": the part is whole, or not of this file
            raise
        error.close()
        part.unlink()
        have, response = 0, _open(url, 0, timeout_s)
    with response:
        if response.status != 206:  # the server sends all of it, not the rest
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with part.open("ab" if have else "wb") as file:
            for piece in _pieces(response):
                file.write(piece)
                have += len(piece)
                if progress is not None:
                    message = f"downloading {url.rpartition('/')[2]}"
                    progress(Event("prepare", have, total, message))
            file.flush()
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise OSError(f"it ended after {have:,} of {total:,} bytes; repeat to go on from there")


def _open(url: str, start: int, timeout_s: float) -> Any:
    headers = {"User-Agent": "supple"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.urlopen(request, timeout=timeout_s)


def _pieces(response: Any) -> Iterator[bytes]:
    while piece := response.read(_PIECE_BYTES):
        yield piece


def _check(url: str, part: Path, checksum: str, by_hand: str) -> None:
    kind, _, expected = checksum.partition(":")
    with part.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found == expected:
        return
    part.unlink()
    raise DataError(
        f"The file {url} is not what it should be: its {kind} is {found}.",
        why=f"Expected {expected}. It was changed at its source or on the way, and was deleted.",
        hint=f"repeat the command; if it stays so, {by_hand}",
        url=url,
        found=found,
        expected=expected,
    )
