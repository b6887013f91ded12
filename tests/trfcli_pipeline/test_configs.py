from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.cli.train import train
from spacy.util import load_config
from transformers import AutoModel

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.training import config_path

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.glob("*.cfg"))
TEXTS = ["I love this film", "apple pie is delicious", "the lazy dog", "a terrible bore"]
every_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)


def test_there_are_configs_for_both_kinds_of_labels() -> None:
    assert {"textcat.cfg", "textcat_multilabel.cfg"} <= {path.name for path in CONFIGS}
    assert all(config_path(path.name).read_bytes() == path.read_bytes() for path in CONFIGS)


@pytest.fixture
def paths(tiny_bert: Path, tmp_path: Path) -> dict[str, Any]:
    """Overrides for a training of two steps on texts with exclusive labels."""
    rows = [{"text": text, "label": "AB"[n % 2]} for n, text in enumerate(TEXTS)]
    srsly.write_jsonl(tmp_path / "data.jsonl", rows)
    return {
        "paths.train": str(tmp_path / "data.jsonl"),
        "paths.dev": str(tmp_path / "data.jsonl"),
        "paths.encoder": str(tiny_bert),
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        "training.batcher.size": 2,
        "schedule.warmup_steps": 1,
    }


def with_several_labels(path: str) -> None:
    rows = [{"text": text, "labels": ["A", "B"][: n % 3]} for n, text in enumerate(TEXTS)]
    srsly.write_jsonl(path, rows)


@every_config
@pytest.mark.parametrize("exclusive", [True, False])
def test_spacy_train_takes_it(
    path: Path,
    exclusive: bool,
    paths: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if not exclusive:
        with_several_labels(paths["paths.train"])
    overrides = {**paths, "components.trf_textcat.exclusive_classes": exclusive}
    train(path, tmp_path / "out", overrides=overrides)
    capfd.readouterr()
    nlp = spacy.load(tmp_path / "out" / "model-last")
    assert isinstance(nlp, TransformersLanguage)
    textcat = nlp.get_pipe("trf_textcat")
    assert textcat.labels == ("A", "B")
    assert textcat.exclusive_classes == exclusive
    before = AutoModel.from_pretrained(paths["paths.encoder"]).state_dict()
    after = nlp.get_pipe("trf_tok2vec").transformers_model.state_dict()
    # Both have learnt.
    assert any(not before[key].equal(after[key]) for key in before)
    assert textcat.model.get_ref("output_layer").get_param("W").any()
    metric = "cats_micro_f" if "multilabel" in path.name else "cats_macro_f"
    assert 0.0 <= nlp.meta["performance"][metric] <= 1.0
    cats = nlp("I love this film").cats
    assert cats.keys() == {"A", "B"}
    assert (sum(cats.values()) == pytest.approx(1.0, abs=1e-5)) == exclusive


@every_config
def test_without_overrides_it_says_what_is_missing(path: Path, paths: dict[str, Any]) -> None:
    config = load_config(path, overrides={"paths.encoder": paths["paths.encoder"]})
    assert config["paths"]["train"] is None
    assert config["training"]["max_steps"] > config["schedule"]["warmup_steps"] > 0
    assert config["training"]["score_weights"].keys() <= {"cats_macro_f", "cats_micro_f"}
    assert config["components"]["trf_textcat"]["exclusive_classes"] == (
        "multilabel" not in path.name
    )


@every_config
def test_it_says_the_same_as_the_others_wherever_it_can(path: Path) -> None:
    """What differs is what the kind of labels decides."""
    base = load_config(FOLDER / "textcat.cfg")
    other = load_config(path)
    for config in (base, other):
        for key in ("exclusive_classes", "threshold"):
            config["components"]["trf_textcat"].pop(key, None)
        del config["training"]["score_weights"]
    assert other == base
