"""Saves and loads components that consist of several parts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import srsly
from spacy import util

from trfcli_pipeline.huggingface import pretrained


@dataclass(frozen=True, slots=True)
class Part:
    """How a part of a component is saved and loaded."""

    to_disk: Callable[[Path], Any]
    from_disk: Callable[[Path], Any]
    to_bytes: Callable[[], Any]
    from_bytes: Callable[[Any], Any]


def json_part(dump: Callable[[], Any], load: Callable[[Any], None]) -> Part:
    """Create a part that is saved as JSON."""
    return Part(
        to_disk=lambda path: srsly.write_json(path, dump()),
        from_disk=lambda path: load(srsly.read_json(path)),
        to_bytes=dump,
        from_bytes=load,
    )


def pretrained_part(save: Callable[[Path], Any], load: Callable[[Path], None]) -> Part:
    """Create a part that is saved as a directory in Hugging Face's format."""

    def from_bytes(files: dict[str, bytes]) -> None:
        with pretrained.from_files(files) as path:
            load(path)

    return Part(
        to_disk=lambda path: pretrained.save(save, path),
        from_disk=load,
        to_bytes=lambda: pretrained.to_files(save),
        from_bytes=from_bytes,
    )


class SavedInParts:
    """Mixin of a component with spaCy's methods for saving and loading.

    Their argument `exclude` has the names of parts to leave out.
    """

    def parts(self) -> dict[str, Part]:
        """Return the parts by name, in the order in which they are loaded."""
        raise NotImplementedError

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Save the parts to a directory."""
        util.to_disk(path, {name: part.to_disk for name, part in self.parts().items()}, exclude)

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> Self:
        """Load what `to_disk` saved."""
        util.from_disk(path, {name: part.from_disk for name, part in self.parts().items()}, exclude)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the parts."""
        return util.to_bytes({name: part.to_bytes for name, part in self.parts().items()}, exclude)

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load what `to_bytes` returned."""
        setters = {name: part.from_bytes for name, part in self.parts().items()}
        util.from_bytes(bytes_data, setters, exclude)
        return self
