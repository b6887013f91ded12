"""How pipelines are saved: the same bytes in every process, with the hashes of their files."""

from collections.abc import Iterable
from pathlib import Path

from spacy.language import Language
from spacy.pipeline import Sentencizer

from trfcli_pipeline.data.outputs import manifest


class SavedLanguage(Language):
    """A `Language` that saves a manifest, and the same bytes in every process."""

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the pipeline to a directory, with the SHA-256 of its files in `meta.json`.

        See `Language.to_disk`.
        """
        self._order_punctuation()
        with manifest.recorded(Path(path)):
            super().to_disk(path, exclude=exclude)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the pipeline; see `Language.to_bytes`."""
        self._order_punctuation()
        return super().to_bytes(exclude=exclude)

    def _order_punctuation(self) -> None:
        """Let spaCy's sentencizer save the same bytes in every process.

        It saves its punctuation in the order of a set, which differs between processes.
        """
        for _, pipe in self.components:
            if isinstance(pipe, Sentencizer):
                pipe.punct_chars = dict.fromkeys(sorted(pipe.punct_chars))
