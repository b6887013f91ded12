"""Read and write .spacy files (DocBin)."""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.rows import (
    COPY_AGAIN,
    Format,
    RawFile,
    Rows,
    check_whole,
    read_whole,
)
from trfcli_pipeline.data.formats.writing import Writer, kind_of
from trfcli_pipeline.data.surrogates import without_surrogates
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


class AnnotatedDocs(NamedTuple):
    """A batch of Docs.

    Attributes:
        content: The bytes of a DocBin.
        user_data: What to keep with each Doc, as JSON values.
    """

    content: bytes
    user_data: Sequence[Mapping[str, Any]]


class DocBinWriter(Writer):
    """Collects Docs, because a DocBin can only be written as a whole."""

    resumable = False
    takes_docs = True
    is_table = False

    def __init__(self) -> None:
        from spacy.tokens import DocBin

        super().__init__()
        self._docs = DocBin(store_user_data=True)

    def add(self, batch: AnnotatedDocs) -> bytes:
        from srsly import msgpack_dumps

        docs = type(self._docs)(store_user_data=True).from_bytes(batch.content)
        # Docs needn't be created again for that.
        docs.user_data = [msgpack_dumps(_storable(each)) for each in batch.user_data]
        self._docs.merge(docs)
        return b""

    def end(self) -> bytes:
        return self._docs.to_bytes()


def _storable(values: Mapping[str, Any]) -> Any:
    """Replace what msgpack doesn't have, such as dates and large integers, by texts."""
    return json.loads(without_surrogates(to_json(values)), parse_int=_integer)


def _integer(digits: str) -> int | str:
    number = int(digits)
    return number if kind_of(number) == "integer" else digits


DOCBIN = Format(_read_spacy, place="doc", is_text=False)
