"""Predict texts in another interpreter, on its CPU and without network.

This module is also the program that this interpreter runs.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import spacy
import srsly
from numpy.typing import NDArray
from spacy.tokens import Doc

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.user_code import import_files
from trfcli_pipeline.tasks.programs import last_error, run_program

# Some that go wrong easily: no words, unknown characters, and more wordpieces than encoders accept.
EXAMPLE_TEXTS = (
    "Apple shares rose on the news. Apple pie is delicious!",
    "I was charged twice, please refund one of the two payments.",
    "Could you add a dark mode? It would be so much easier on the eyes.",
    "The app crashes as soon as I open the settings 😡",
    "Call 0800 123 456 now to WIN a free prize! https://example.org/win?id=42",
    "ok",
    "Zürich's cafés reopened. Unbelievable!",
    "東京に行きました。",
    "",
    " \n ",
    "The parcel never arrived, and nobody answers the phone. " * 60,
)

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    # Both pipelines have to run on the same device.
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
}


class Prediction(NamedTuple):
    """What a pipeline predicts for a text.

    Attributes:
        cats: The score of each label.
        tensor: The vector of each token. *Shape:* (tokens, width)
        annotations: All annotations in the format of `Doc.to_json`.
    """

    cats: dict[str, float]
    tensor: NDArray[Any]
    annotations: dict[str, Any]


def predict_offline(
    python: str, model: str, texts: Sequence[str], code: Path | None = None
) -> tuple[Path, list[Prediction]]:
    """Load a pipeline in another interpreter, and let it predict texts without network.

    Args:
        python: The interpreter. It has to find this package.
        model: Directory or name of the pipeline.
        texts: The texts.
        code: A Python file to import first.

    Returns:
        The directory that the pipeline was loaded from, and the prediction for each text.

    Raises:
        PipelineError: The pipeline can't be loaded or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "texts.msgpack", Path(folder) / "predictions.msgpack"
        srsly.write_msgpack(given, list(texts))
        own = [] if code is None else [code.resolve()]
        result = run_program(
            [python, "-P", "-m", __name__, model, str(given), str(found), *map(str, own)],
            cwd=Path(folder),
            env={**os.environ, **_OFFLINE},
        )
        if result.returncode != 0:
            reason = last_error(result)
            raise PipelineError(f"{model} can't be loaded and run without network: {reason}")
        path, rows = srsly.read_msgpack(found)
    return Path(path), [Prediction(*row) for row in rows]


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook that makes connections and name lookups fail.

    Source:
        https://docs.python.org/3/library/audit_events.html
    """
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise OSError(f"The network is off ({event})")


def _predict(model: str, given: Path, found: Path, *code: Path) -> None:
    sys.addaudithook(_refuse_network)
    import_files(code)
    nlp = spacy.load(model)
    rows = [(dict(doc.cats), _array(doc), doc.to_json()) for doc in nlp.pipe(_read(given))]
    srsly.write_msgpack(found, (str(nlp.path), rows))


def _read(path: Path) -> list[str]:
    texts: list[str] = srsly.read_msgpack(path)
    return texts


def _array(doc: Doc) -> NDArray[Any]:
    # With CuPy and without a GPU, arrays are NumPy's anyway.
    tensor: NDArray[Any] = doc.tensor
    return tensor


if __name__ == "__main__":
    _predict(sys.argv[1], *map(Path, sys.argv[2:]))
