"""Read and write .spacy files (DocBin)."""

import zlib
from typing import Any

from trfcli_pipeline.data.formats.rows import (
    COPY_AGAIN,
    Format,
    RawFile,
    Rows,
    check_whole,
    read_whole,
)
from trfcli_pipeline.errors import DataError

_STEP = 2**24


def _read_spacy(file: RawFile) -> Rows:
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    name = file.name
    data = read_whole(file.stream, name)
    _check_unpacked(data, name)
    try:
        # One Doc at a time, because Docs take much more memory than the DocBin.
        for place, doc in enumerate(DocBin().from_bytes(data).get_docs(Vocab()), start=1):
            # An unlabeled Doc has empty cats.
            cats = {"cats": dict(doc.cats)} if doc.cats else {}
            yield place, {"text": doc.text, **cats}
    except Exception as error:  # zlib, msgpack and spaCy each raise their own errors
        raise _damaged(name) from error


def _check_unpacked(data: bytes, name: str) -> None:
    """Check the size of a DocBin, which spaCy compresses, before it is unpacked in one piece."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        while data and not unpacker.eof:
            size += len(unpacker.decompress(data, _STEP))
            check_whole(size, name)
            data = unpacker.unconsumed_tail
    except zlib.error as error:
        raise _damaged(name) from error


def _damaged(name: str) -> DataError:
    return DataError(f"{name}: not a spaCy 3 DocBin, or damaged", hint=COPY_AGAIN)


class DocBinWriter:
    """Collects Docs, because a DocBin can only be written as a whole."""

    streams = False
    takes_docs = True

    def __init__(self) -> None:
        from spacy.tokens import DocBin

        self.state: dict[str, Any] = {}
        self.left_out: set[str] = set()
        self._docs = DocBin()

    def add(self, batch: bytes) -> bytes:
        self._docs.merge(type(self._docs)().from_bytes(batch))
        return b""

    def end(self) -> bytes:
        return self._docs.to_bytes()


DOCBIN = Format(_read_spacy, place="doc", is_text=False)
