"""From the bytes of a file to uncompressed bytes, in UTF-8 if it is a text file."""

import bz2
import codecs
import gzip
import io
import lzma
import re
from typing import IO, Any, cast

from trfcli_pipeline.data.formats.remarks import Remarks
from trfcli_pipeline.errors import DataError, needs_extra

# Bytes at the start of a file by which its layout is guessed.
SAMPLE = 2**20
ZIP = b"PK\x03\x04"
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_COMPRESSED = (_GZIP, _BZIP2, _XZ, _ZSTD)
_BLOCK = 2**16
# The longest first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Characters that a UTF-8 text has, two or more bytes each.
_MULTIBYTE = re.compile(
    b"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
# Bytes that Windows' encoding doesn't have, and control characters, which no text has.
_NOT_CP1252 = re.compile(b"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\x81\x8d\x8f\x90\x9d]")


class _Raw(io.RawIOBase):
    """A stream of bytes that come in blocks from `_block`."""

    def __init__(self) -> None:
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._block()
        taken = self._rest[: len(buffer)]
        self._rest = self._rest[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _block(self) -> bytes:
        raise NotImplementedError


class _Restarted(_Raw):
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, stream: IO[bytes]) -> None:
        super().__init__()
        self._start, self._stream = start, stream

    def _block(self) -> bytes:
        block, self._start = self._start, b""
        return block or self._stream.read(_BLOCK)


class _Recoded(_Raw):
    """A text stream in UTF-8 with the line ends of Unix, from one in another encoding."""

    def __init__(self, stream: IO[bytes], encoding: str, name: str, *, old_mac: bool) -> None:
        super().__init__()
        self._stream, self._encoding, self._name = stream, encoding, name
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._old_mac = old_mac

    def _block(self) -> bytes:
        while True:
            block = self._stream.read(_BLOCK)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeError as error:
                raise DataError(
                    f"{self._name}: not valid {self._encoding} ({error.args[-1]})",
                    hint="Name its encoding: --encoding utf-8, cp1252, utf-16 ...",
                ) from error
            if self._old_mac:
                text = text.replace("\r", "\n")
            if text or not block:
                return text.encode("utf-8", errors="surrogatepass")


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(raw, 2**17)


def with_sample(stream: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """Read the start of a stream, and return it with the stream that begins with it again."""
    sample = bytearray()
    while len(sample) < SAMPLE and (block := stream.read(SAMPLE - len(sample))):
        sample += block
    return bytes(sample), buffered(_Restarted(bytes(sample), stream))


def uncompressed(stream: IO[bytes], name: str) -> IO[bytes] | None:
    """Unpack a compressed stream, whatever its name says.

    Returns:
        The unpacked stream. None if the stream isn't compressed: then it is at its start again.

    Raises:
        DataError: It is in Zstandard format, but the package for that isn't installed.
    """
    start = stream.read(6)
    if not start.startswith(_COMPRESSED):
        if stream.seekable():
            stream.seek(0)
            return None
        return buffered(_Restarted(start, stream))
    unpacked = _unpack(buffered(_Restarted(start, stream)), start, name)
    # It may have been compressed twice.
    start = unpacked.read(6)
    rest = buffered(_Restarted(start, unpacked))
    return _unpack(rest, start, name) if start.startswith(_COMPRESSED) else rest


def _unpack(stream: IO[bytes], start: bytes, name: str) -> IO[bytes]:
    if start.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if start.startswith(_BZIP2):
        return bz2.BZ2File(stream)
    if start.startswith(_XZ):
        return lzma.LZMAFile(stream)
    return _unpack_zstd(stream, name)


def _unpack_zstd(stream: IO[bytes], name: str) -> IO[bytes]:
    with needs_extra(f"{name}: reading .zst files needs zstandard", "zstd", DataError):
        import zstandard

    reader: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    return reader


def as_utf8(
    stream: IO[bytes], sample: bytes, name: str, encoding: str | None, remarks: Remarks
) -> IO[bytes]:
    """Convert a text stream to UTF-8, with \\n or \\r\\n at the ends of its lines.

    Bytes that aren't valid UTF-8 stay as they are, to be reported with their line, unless the
    sample looks as if it were in Windows' encoding throughout.

    Args:
        encoding: Its encoding; None to guess it.
    """
    found = encoding or _guess(sample, remarks)
    is_utf8 = codecs.lookup(found).name in ("utf-8", "utf-8-sig")
    text = sample.decode(found, errors="replace")
    old_mac = "\r" in text and "\n" not in text
    if old_mac:
        remarks.guess("lines end with \\r, as on old Macs")
    if is_utf8 and not old_mac:
        return stream
    # Bad UTF-8 is reported by line; other encodings are decoded here.
    return buffered(_Recoded(stream, found, name, old_mac=old_mac))


def decoded(sample: bytes) -> str:
    """The start of a text file in the encoding that its first bytes name; otherwise as UTF-8."""
    encoding = next((name for mark, name in _MARKS if sample.startswith(mark)), "utf-8")
    return sample.decode(encoding, errors="replace")


def _guess(sample: bytes, remarks: Remarks) -> str:
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    try:
        # A sample of a larger file may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=len(sample) < SAMPLE)
        return _utf16_without_mark(sample, remarks) or "utf-8"
    except UnicodeDecodeError:
        if _MULTIBYTE.search(sample) or _NOT_CP1252.search(sample):
            return _utf16_without_mark(sample, remarks) or "utf-8"
    remarks.guess("not UTF-8, so read as cp1252, the encoding of Windows (--encoding)")
    return "cp1252"


def _utf16_without_mark(sample: bytes, remarks: Remarks) -> str | None:
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if zeros and zeros.count(0) > 0.7 * len(zeros):
            remarks.guess(f"read as {encoding}, because every other byte is zero (--encoding)")
            return encoding
    return None
