"""Read and write .spacy files (DocBin)."""

from typing import IO, Any

from trfcli_pipeline.data.formats.rows import Format, Rows
from trfcli_pipeline.errors import DataError


def _read_spacy(stream: IO[bytes], name: str) -> Rows:
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    try:
        # One Doc at a time, because Docs take much more memory than the DocBin.
        for place, doc in enumerate(DocBin().from_bytes(stream.read()).get_docs(Vocab()), start=1):
            # An unlabeled Doc has empty cats.
            cats = {"cats": dict(doc.cats)} if doc.cats else {}
            yield place, {"text": doc.text, **cats}
    except Exception as error:  # zlib, msgpack and spaCy each raise their own errors
        raise DataError(f"{name}: not a spaCy 3 DocBin, or damaged") from error


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


DOCBIN = Format(_read_spacy, place="doc")
