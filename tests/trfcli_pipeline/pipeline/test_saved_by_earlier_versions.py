"""Packages of earlier versions load, and predict what they predicted then."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import spacy
from extras import needs_openvino
from spacy.language import Language

FIXTURES = Path(__file__).parents[2] / "fixtures" / "saved_by_0_1_0"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "predictions.json").read_text(encoding="utf8"))
# Rounding differs between processors; OpenVINO's int8 kernels differ more.
TOLERANCE = {"exclusive": 1e-5, "multilabel": 1e-5, "bf16": 2e-2, "int8": 5e-2}
# They were saved with a spaCy that may be newer than the installed one.
pytestmark = pytest.mark.filterwarnings(r"ignore:\[W095\]")


@pytest.fixture(
    params=["bf16", "exclusive", "multilabel", pytest.param("int8", marks=needs_openvino)]
)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def nlp(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Language:
    """The pipeline of the wheel, loaded by its name as if the wheel were installed."""
    name = f"en_tiny_{kind}"
    with zipfile.ZipFile(next(FIXTURES.glob(f"{name}-*.whl"))) as wheel:
        wheel.extractall(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return spacy.load(name)


def test_predictions_are_those_of_the_version_that_saved_it(nlp: Language, kind: str) -> None:
    docs = list(nlp.pipe(EXPECTED["texts"]))
    for doc, expected in zip(docs, EXPECTED[kind], strict=True):
        assert doc.cats == pytest.approx(expected["cats"], abs=TOLERANCE[kind])
        first_row = doc.tensor[0].tolist() if len(doc) else []
        assert first_row == pytest.approx(expected["first_row"], abs=10 * TOLERANCE[kind])


def test_tuned_thresholds_and_settings_are_kept(nlp: Language, kind: str) -> None:
    textcat = nlp.get_pipe("trf_textcat")
    assert bool(textcat.thresholds) == (kind == "multilabel")
    assert textcat.exclusive_classes == (kind != "multilabel")
    assert bool(textcat.cfg["class_weights"]) == (kind == "multilabel")


def test_labels_are_decided_by_the_saved_thresholds(nlp: Language, kind: str) -> None:
    saved = nlp.get_pipe("trf_textcat").thresholds
    for doc in nlp.pipe(EXPECTED["texts"]):
        ranked = sorted(doc.cats, key=doc.cats.__getitem__, reverse=True)
        expected = ranked[:1]
        if kind == "multilabel":
            expected = [label for label in ranked if doc.cats[label] >= saved.get(label, 0.5)]
        assert doc._.trf_labels == expected


def test_saving_it_again_changes_no_prediction(nlp: Language, tmp_path: Path) -> None:
    nlp.to_disk(tmp_path / "again")
    again = spacy.load(tmp_path / "again")
    for text in EXPECTED["texts"]:
        assert again(text).cats == nlp(text).cats
