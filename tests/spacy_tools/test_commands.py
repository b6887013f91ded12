"""spaCy's commands on our pipelines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import DocBin
from tiny_ner import DATA, TEXT, examples, make_nlp, same_predictions
from typer.testing import Result

from trfcli_pipeline import TransformersLanguage

CONFIGS = Path(__file__).parents[2] / "configs"
# spaCy draws its progress in a fork. Where a GPU is in use, torch has threads.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def test_train(
    spacy_cli: Callable[..., Result], tiny_bert: Path, data: Path, tmp_path: Path
) -> None:
    spacy_cli(
        "train",
        CONFIGS / "ner.cfg",
        *("--output", tmp_path / "out"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
        *("--training.max_steps", 2, "--training.eval_frequency", 1),
        *("--schedule.warmup_steps", 1),
    )
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert nlp.get_pipe("ner").labels == ("ORG",)
    assert "ents_f" in nlp.meta["performance"]


@pytest.mark.parametrize("config", ["textcat.cfg", "textcat_multilabel.cfg"])
def test_train_on_labels_with_values_between_0_and_1(
    spacy_cli: Callable[..., Result], tiny_bert: Path, tmp_path: Path, config: str
) -> None:
    data = tmp_path / "data.jsonl"
    srsly.write_jsonl(
        data,
        [
            {"text": "Apple pie is delicious", "cats": {"FRUIT": 0.9, "FILM": 0.2}},
            {"text": "I love this film", "cats": {"FRUIT": 0.2, "FILM": 0.9}},
        ],
    )
    spacy_cli(
        "train",
        CONFIGS / config,
        *("--output", tmp_path / "out"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
        *("--training.max_steps", 2, "--training.eval_frequency", 1),
        *("--schedule.warmup_steps", 1),
    )
    scores = json.loads((tmp_path / "out" / "model-best" / "meta.json").read_text())["performance"]
    assert 0 <= scores["cats_macro_auc"] <= 1


def test_evaluate(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, data: Path, tmp_path: Path
) -> None:
    spacy_cli("evaluate", model, data, "--output", tmp_path / "metrics.json")
    found = json.loads((tmp_path / "metrics.json").read_text())
    expected = trained.evaluate(examples(trained))
    for name in ("ents_f", "cats_macro_f", "cats_macro_auc", "sents_f"):
        assert found[name] == pytest.approx(expected[name]) if expected[name] else not found[name]
    assert found["ents_f"] == 1.0


def test_apply(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, tmp_path: Path
) -> None:
    srsly.write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text, _, _ in DATA])
    spacy_cli("apply", model, tmp_path / "texts.jsonl", tmp_path / "out.spacy")
    docs = list(DocBin().from_disk(tmp_path / "out.spacy").get_docs(trained.vocab))
    assert [doc.text for doc in docs] == [text for text, _, _ in DATA]
    for doc in docs:
        expected = trained(doc.text)
        assert doc.cats == pytest.approx(expected.cats, abs=1e-5)
        assert doc.to_json()["ents"] == expected.to_json()["ents"]


# spaCy doesn't close the files that it writes.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_package(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, tmp_path: Path
) -> None:
    tmp_path.joinpath("out").mkdir()
    spacy_cli("package", model, tmp_path / "out", "--name", "tools", "--build", "none")
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == "xx_tools-0.0.0"
    meta = srsly.read_json(folder / "meta.json")
    assert meta["lang"] == "xx"
    assert sum(each.startswith("trfcli") for each in meta["requirements"]) == 1
    nlp = spacy.load(folder / "xx_tools" / "xx_tools-0.0.0")
    assert isinstance(nlp, TransformersLanguage)
    assert same_predictions(nlp, trained)


def test_assemble(spacy_cli: Callable[..., Result], tiny_bert: Path, tmp_path: Path) -> None:
    config = make_nlp(tiny_bert).config
    config.to_disk(tmp_path / "config.cfg")
    spacy_cli("assemble", tmp_path / "config.cfg", tmp_path / "out")
    nlp = spacy.load(tmp_path / "out")
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    assert nlp(TEXT).tensor.any()


def test_assemble_with_components_of_another_pipeline(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, tmp_path: Path
) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    config = nlp.config
    config["nlp"]["pipeline"] = trained.pipe_names
    config["components"] = {name: {"source": str(model)} for name in trained.pipe_names}
    config.to_disk(tmp_path / "config.cfg")
    spacy_cli("assemble", tmp_path / "config.cfg", tmp_path / "out")
    assert same_predictions(spacy.load(tmp_path / "out"), trained)


def test_info(spacy_cli: Callable[..., Result], model: Path) -> None:
    output = spacy_cli("info", model).output
    assert "trf_textcat" in output
    assert "xx" in output


def test_validate(spacy_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the network for compatible packages, and must accept ours, which it doesn't know."""

    class Response:
        status_code = 200

        def json(self) -> dict[str, Any]:
            return {"spacy": {spacy.util.get_minor_version(spacy.__version__): {}}}

    monkeypatch.setattr("requests.get", lambda *_, **__: Response())
    assert "pipeline packages" in spacy_cli("validate").output.lower()


def test_benchmark_speed(spacy_cli: Callable[..., Result], model: Path, data: Path) -> None:
    output = spacy_cli(
        "benchmark", "speed", model, data, "--batches", 30, "--warmup", 0, "--no-shuffle"
    ).output
    assert "words/s" in output.lower()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.cfg")), ids=lambda path: path.name)
def test_debug_config(
    spacy_cli: Callable[..., Result], tiny_bert: Path, data: Path, tmp_path: Path, path: Path
) -> None:
    # It requires a complete config, so we fill in the defaults first.
    spacy_cli("init", "fill-config", path, tmp_path / "filled.cfg")
    output = spacy_cli(
        *("debug", "config", tmp_path / "filled.cfg"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
    ).output
    assert "Config is valid" in output


def test_debug_data(
    spacy_cli: Callable[..., Result], trained: Language, tiny_bert: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.spacy"
    # It rejects fewer than a hundred examples.
    DocBin(docs=[eg.reference for eg in examples(trained)] * 25).to_disk(data)
    spacy_cli("init", "fill-config", CONFIGS / "ner.cfg", tmp_path / "filled.cfg")
    output = spacy_cli(
        *("debug", "data", tmp_path / "filled.cfg"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
    ).output
    assert "Pipeline can be initialized with data" in output
    assert "1 label(s)" in output


def test_find_threshold(spacy_cli: Callable[..., Result], model: Path, data: Path) -> None:
    output = spacy_cli(
        "find-threshold", model, data, "trf_textcat", "threshold", "cats_macro_f", "--n_trials", 3
    ).output
    assert "Best threshold" in output
