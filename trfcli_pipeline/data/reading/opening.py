"""Open a file of a data set: unpack it, convert it to UTF-8, and choose its format."""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from trfcli_pipeline.data.dataset import ReadingOptions
from trfcli_pipeline.data.formats import FORMATS, format_of, suffix_of
from trfcli_pipeline.data.formats.remarks import Remarks
from trfcli_pipeline.data.formats.rows import COPY_AGAIN, Format, RawFile, quoted, read_whole
from trfcli_pipeline.data.formats.streams import as_utf8, uncompressed, with_sample
from trfcli_pipeline.data.reading.sources import Part, unreadable
from trfcli_pipeline.data.wording import agree
from trfcli_pipeline.errors import DataError


@contextmanager
def open_part(
    part: Part, *, labeled: bool, options: ReadingOptions, remarks: Remarks
) -> Iterator[tuple[RawFile, Format]]:
    """Open a file of a data set.

    Args:
        labeled: Whether its labels are read.
        options: What the user says about its layout.
        remarks: Takes what is guessed about it.

    Raises:
        DataError: It can't be opened, or its format is unknown. While reading: it is damaged.
    """
    name = part.name
    try:
        with part.open() as original:
            suffix = suffix_of(part.path)
            if part.is_stdin:
                # What a program will write isn't known yet.
                format, sample = FORMATS[suffix], b""
                stream = as_utf8(original, sample, name, options.encoding, remarks)
            else:
                unpacked = uncompressed(original, name)
                sample, stream = with_sample(unpacked or original)
                # An empty file has no records in any format.
                format = FORMATS[".txt"]
                if part.label is None and (sample or suffix not in FORMATS):
                    format = format_of(name, suffix, sample, options)
                if part.selected is not None and not format.has_parts:
                    raise DataError(
                        f"{name}: has no parts, such as {quoted(part.selected)}",
                        hint=f"Name only the file: {name}",
                    )
                if format.is_text:
                    stream = as_utf8(stream, sample, name, options.encoding, remarks)
                    sample, stream = with_sample(stream)
                else:
                    stream = _seekable(stream, name, original if unpacked is None else None)
            _remark_unused(format, options, remarks)
            file = RawFile(
                name,
                stream,
                sample,
                labeled,
                options,
                remarks,
                suffix=suffix,
                part=part.selected,
                place=format.place,
                directory=part.path.parent if isinstance(part.path, Path) else None,
                is_stdin=part.is_stdin,
            )
            yield file, format
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        problem = f"{name}: not a compressed file, or damaged ({error})"
        raise DataError(problem, hint=COPY_AGAIN) from error
    except OSError as error:
        raise unreadable(name, error) from error


def _remark_unused(format: Format, options: ReadingOptions, remarks: Remarks) -> None:
    """Say which options have no effect. With several files, others may be what they are for."""
    unused = [] if format.is_text else ["encoding"]
    unused += [] if format.is_table else ["delimiter", "quoting"]
    given = [f"--{name}" for name in unused if getattr(options, name) is not None]
    if given:
        has = agree(len(given), "has", "have")
        remarks.odd(f"{', '.join(given)} {has} no effect on a file of this format")


def _seekable(stream: IO[bytes], name: str, original: IO[bytes] | None) -> IO[bytes]:
    if original is None or not original.seekable():
        return BytesIO(read_whole(stream, name))
    original.seek(0)
    return original
