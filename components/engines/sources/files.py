"""Which files a source names, in what format, and how to open them. Anything fsspec can reach."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, Any
from urllib.parse import urlsplit

from components.engines.base.credentials import hide_credentials
from components.engines.base.errors import BadRecord, GenworksError, StageError, UsageError, explain_os_error

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
ARCHIVES = {".tar": "webdataset"}  # for readers of samples with files in them
_SHORT = {".tgz": [".tar", ".gz"], ".tbz2": [".tar", ".bz2"], ".txz": [".tar", ".xz"]}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}
DATASET_MARKERS = ("state.json", "dataset_dict.json")  # what `datasets` leaves in a folder written by save_to_disk


@dataclass(frozen=True)
class SourceFile:
    """One file of a source. `name` is relative to the source, so that reports hold no absolute path."""

    filesystem: Any
    path: str
    name: str
    format: str
    compression: str | None

    @property
    def is_local(self) -> bool:
        return not _is_remote(self.filesystem)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file's bytes, decompressed. A cut-off or false archive raises StageError when that is met."""
        from components.engines.sources.unpacking import Unpacked

        with damage_explained(self.name), self._opened() as raw:
            yield raw if self.compression is None else io.BufferedReader(Unpacked(raw, self.compression, self.name))

    def _opened(self) -> Any:
        try:
            return self.filesystem.open(self.path, "rb")
        except FileNotFoundError as error:
            if not _says_missing(cause := _root(error)):  # fsspec calls what does not answer not found, too
                raise _unreachable(self.path, cause) from error
            raise StageError("The file does not exist", where=self.path, do="correct `source` in params") from None
        except OSError as error:
            raise (
                _unreachable(self.path, error) if _is_remote(self.filesystem) else explain_os_error(error)
            ) from error
        except Exception as error:  # the stores' own error kinds have no common base
            raise _unreachable(self.path, error) from error


@contextmanager
def damage_explained(name: str) -> Iterator[None]:
    """Turn what the system raises while a file is read into one clear StageError."""
    import lzma
    import zlib

    try:
        yield
    except GenworksError:
        raise
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise StageError(
            f"The compressed file is damaged or cut short ({error})", where=name, do="copy or download it again"
        ) from None
    except OSError as error:
        if "data stream" in str(error):  # bz2's
            raise StageError(f"The compressed file is damaged ({error})", where=name, do="copy it again") from None
        raise explain_os_error(error) from error


def find_files(
    source: str, format: str | None, *, formats: Mapping[str, str] = MappingProxyType(FORMATS)
) -> list[SourceFile]:
    """The files that `source` (path, folder, glob or URL) names, sorted by path; `formats` are those the caller reads.

    Raises UsageError if there is none, if the scheme has no driver here, or if a format is unknown.
    """
    if format is not None and format not in formats.values():
        known = ", ".join(sorted(set(formats.values())))
        raise UsageError(f"unknown format '{format}'", where=source, do=f"use one of: {known}")
    filesystem, path = _connect(source)
    try:
        base, paths = _list(filesystem, path, source)
    except FileNotFoundError:
        base, paths = path, []
    except Exception as error:  # the stores' own error kinds have no common base
        raise (_unreachable(source, error) if _is_remote(filesystem) else _unlisted(source, error)) from error
    folder = paths != [path]
    if folder and format is None:
        readable = [candidate for candidate in paths if _format_of(candidate, formats)[0] is not None]
        if paths and not readable:
            raise _unknown_format(source, paths, formats)
        paths = readable
    if not paths:
        raise UsageError("The source does not exist or holds no files", where=source, do="correct `source` in params")
    return [_describe(filesystem, candidate, base, format, source, formats) for candidate in paths]


def is_saved_dataset(source: str) -> bool:
    """Whether `source` is a local folder that `datasets` wrote with save_to_disk."""
    filesystem, path = _connect(source)
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    return protocol == "file" and any(filesystem.exists(f"{path}/{marker}") for marker in DATASET_MARKERS)


def _connect(source: str) -> tuple[Any, str]:
    import fsspec

    if not source:
        raise UsageError("`source` is empty", do="name a file, folder, glob, URL or hf:// dataset")
    try:
        filesystem, path = fsspec.core.url_to_fs(source)
    except ImportError as error:
        raise UsageError(f"No driver for this kind of URL: {error}", where=source, do="pip install it") from None
    except ValueError as error:
        raise UsageError(f"This URL cannot be used: {error}", where=source) from None
    return filesystem, path


def forget_listings(source: str) -> None:
    """fsspec keeps what it listed for as long as the process lives."""
    filesystem, _ = _connect(source)
    filesystem.invalidate_cache()


def info_of(filesystem: Any, path: str) -> dict[str, Any]:
    """What a store tells of a file; {} where there is none. Raises StageError if it cannot be reached."""
    try:
        return dict(filesystem.info(path))
    except Exception as error:  # the stores' own error kinds have no common base
        if _says_missing(cause := _root(error)):
            return {}
        raise _unreachable(path, cause) from error


def _is_remote(filesystem: Any) -> bool:
    protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    return not {"file", "local", "memory"} & set(protocols)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _says_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) or getattr(error, "status", None) in (404, 410)  # aiohttp's


def _unreachable(where: str, error: BaseException) -> StageError:
    return StageError(
        f"The source cannot be reached: {type(error).__name__}: {hide_credentials(' '.join(str(error).split()))}",
        where=where,
        do="check the address, the network, and the credentials in the environment",
    )


def astray(path: str | Path, root: str | Path) -> BadRecord | None:
    """Why a file of this machine that was found below `root` must not be read: a link that leads elsewhere, a pipe or device."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(root)):
        return BadRecord("unsafe path", "a link out of the folder")
    if not real.exists() or not stat.S_ISREG(os.stat(real).st_mode):
        return BadRecord("unsafe path", "no regular file")
    return None


def _unlisted(source: str, error: Exception) -> StageError:
    return StageError(f"The source cannot be listed: {type(error).__name__}: {error}", where=source)


def _list(filesystem: Any, path: str, source: str) -> tuple[str, list[str]]:
    """(folder that names are relative to, file paths); a literal path wins over its reading as a glob."""
    if urlsplit(source).scheme in ("http", "https"):
        return path.rsplit("/", 1)[0], [path]
    if filesystem.isfile(path):
        return path.rsplit("/", 1)[0], [path]
    if filesystem.isdir(path):
        return path, [found for found in sorted(filesystem.find(path)) if not _hidden(found[len(path) :])]
    if any(sign in path for sign in "*?["):
        parts = path.split("/")
        fixed = next(index for index, part in enumerate(parts) if any(sign in part for sign in "*?["))
        base = "/".join(parts[:fixed])
        found = [match for match in sorted(filesystem.glob(path)) if filesystem.isfile(match)]
        return base, [match for match in found if not _hidden(match[len(base) :])]
    return path, []


def _hidden(relative: str) -> bool:
    """Files that tools leave beside data: `.crc`, `_SUCCESS`, `.ipynb_checkpoints/`."""
    return any(part.startswith((".", "_")) for part in relative.split("/") if part)


def _format_of(path: str, formats: Mapping[str, str]) -> tuple[str | None, str | None]:
    """(format, compression) told by a path's suffixes."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path.split("?", maxsplit=1)[0]).suffixes]
    suffixes[-1:] = _SHORT.get(suffixes[-1], suffixes[-1:]) if suffixes else []
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    return formats.get(suffixes[-1]) if suffixes else None, compression


def _describe(
    filesystem: Any, path: str, base: str, format: str | None, source: str, formats: Mapping[str, str]
) -> SourceFile:
    told, compression = _format_of(path, formats)
    if (format or told) is None:
        raise _unknown_format(source, [path], formats)
    return SourceFile(filesystem, path, path[len(base) :].lstrip("/"), format or str(told), compression)


def _unknown_format(source: str, paths: list[str], formats: Mapping[str, str]) -> UsageError:
    suffixes = ", ".join(sorted({PurePosixPath(path).suffix or "none" for path in paths}))
    known = ", ".join(formats)
    return UsageError(
        f"No format is known for suffix {suffixes}", where=source, do=f"use one of {known} (.gz too), or set `format:`"
    )
