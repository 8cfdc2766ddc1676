"""Weights in the user's cache folder: where they lie, and how they get there, checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from petmood.detect.table import WEIGHTS, Weights
from petmood.errors import RunError
from petmood.parallel import progress
from petmood.workspace import replacing

#: A server that says nothing for this many seconds is not waited for.
_PATIENCE_SECONDS = 20.0
_CHUNK = 1 << 18


def cache_folder() -> Path:
    """Folder of the detectors' weights: below XDG_CACHE_HOME, or else ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "petmood" / "detectors"


def kept(weights: Weights) -> Path | None:
    """The file in the cache folder; None if it is not there."""
    path = cache_folder() / weights.file
    return path if path.is_file() else None


def fetch(weights: Weights = WEIGHTS[0], *, quiet: bool = False, force: bool = False) -> Path:
    """The file in the cache folder, fetched from its publisher unless it is there; size and SHA-256 are checked.

    Nothing is left behind if it fails. Proxies of the environment are used.

    Args:
        weights: which.
        quiet: no progress bar.
        force: fetch it although it is there.

    Raises:
        RunError: the publisher cannot be reached, or gives another file.
        OSError: the disk refuses it.
    """
    present = kept(weights)
    if present and not force:
        return present
    path = cache_folder() / weights.file
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        with progress(f"fetch {weights.name}", weights.size, "bytes", quiet=quiet) as advance:
            found = _download(weights, file, advance)
        if found != (weights.size, weights.sha256):
            raise RunError(
                f"{weights.address} gave {found[0]:,} bytes with SHA-256 {found[1]}; expected are "
                f"{weights.size:,} bytes with {weights.sha256}.",
                hint=f"something between may have changed it: try again, or {_otherwise(weights)}",
            )
    return path


def _download(weights: Weights, file: IO[bytes], advance: Callable[[int], None]) -> tuple[int, str]:
    """Write what the publisher gives; returns its bytes and SHA-256. Stops where it is longer than it should be."""
    digest, size = hashlib.sha256(), 0
    request = urllib.request.Request(weights.address, headers={"User-Agent": "petmood"})  # noqa: S310 - the table's own
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310
            while size <= weights.size and (chunk := answer.read(_CHUNK)):
                _write(file, chunk)
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
    except _DiskError as error:
        raise error.cause from None
    except (OSError, http.client.HTTPException) as error:  # no network, no such host, refused, 404, cut off
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = str(getattr(error, "reason", "") or error or type(error).__name__).splitlines()[0]
        raise RunError(
            f"the weights of {weights.name} cannot be fetched from {weights.address}: {reason}.",
            hint=f"check the network, or {_otherwise(weights)}",
        ) from None
    return size, digest.hexdigest()


class _DiskError(Exception):
    """An error of the disk, which must not be told as one of the network: both are OSErrors."""

    def __init__(self, cause: OSError) -> None:
        super().__init__()
        self.cause = cause


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise _DiskError(error) from None


def _otherwise(weights: Weights) -> str:
    return f"fetch {weights.file} elsewhere, and name it with --detector FILE or PETMOOD_DETECTOR=FILE"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
