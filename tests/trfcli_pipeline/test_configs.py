from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.util import load_config
from spacy.vocab import Vocab
from transformers import AutoModel

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.training.config import config_path

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.glob("*.cfg"))
OF_TEXTS = sorted(FOLDER.glob("textcat*.cfg"))
OF_TOKENS = [FOLDER / "ner.cfg", FOLDER / "tagger_parser.cfg"]
TEXTS = ["I love this film", "apple pie is delicious", "the lazy dog", "a terrible bore"]


def every(paths: list[Path]) -> Callable[..., Any]:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def test_configs_are_shipped() -> None:
    assert [path.name for path in OF_TEXTS] == ["textcat.cfg", "textcat_multilabel.cfg"]
    assert {*OF_TEXTS, *OF_TOKENS} == set(CONFIGS)
    assert all(config_path(path.name).read_bytes() == path.read_bytes() for path in CONFIGS)


@pytest.fixture
def overrides(tiny_bert: Path) -> dict[str, Any]:
    """Overrides for a training run of two steps."""
    return {
        "paths.encoder": str(tiny_bert),
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        "schedule.warmup_steps": 1,
    }


@pytest.fixture
def texts(overrides: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Overrides for texts with one label each."""
    rows = [{"text": text, "label": "AB"[n % 2]} for n, text in enumerate(TEXTS)]
    path = str(tmp_path / "data.jsonl")
    srsly.write_jsonl(path, rows)
    return {**overrides, "paths.train": path, "paths.dev": path, "training.batcher.size": 2}


@pytest.fixture
def tokens(overrides: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Overrides for Docs with all of spaCy's token annotations."""
    words = ["I", "love", "Apple", ".", "Apple", "rose", "in", "Zürich", "."]
    doc = Doc(
        Vocab(),
        words=words,
        tags=["PRP", "VBP", "NNP", ".", "NNP", "VBD", "IN", "NNP", "."],
        pos=["PRON", "VERB", "PROPN", "PUNCT", "PROPN", "VERB", "ADP", "PROPN", "PUNCT"],
        morphs=["Number=Sing", "Tense=Pres", "", "", "", "Tense=Past", "", "", ""],
        heads=[1, 1, 1, 1, 5, 5, 5, 6, 5],
        deps=["nsubj", "ROOT", "dobj", "punct", "nsubj", "ROOT", "prep", "pobj", "punct"],
        ents=["O", "O", "B-ORG", "O", "B-ORG", "O", "O", "B-LOC", "O"],
    )
    path = str(tmp_path / "data.spacy")
    # spaCy's parser ignores actions that are less frequent (min_action_freq).
    DocBin(docs=[doc] * 40).to_disk(path)
    return {**overrides, "paths.train": path, "paths.dev": path}


def with_several_labels(path: str) -> None:
    rows = [{"text": text, "labels": ["A", "B"][: n % 3]} for n, text in enumerate(TEXTS)]
    srsly.write_jsonl(path, rows)


def train_with(path: Path, overrides: dict[str, Any], output: Path) -> Language:
    train(path, output, overrides=overrides)
    nlp = spacy.load(output / "model-last")
    assert isinstance(nlp, TransformersLanguage)
    before = AutoModel.from_pretrained(overrides["paths.encoder"]).state_dict()
    after = nlp.get_pipe("trf_tok2vec").transformers_model.state_dict()
    assert any(not before[key].equal(after[key].cpu()) for key in before)
    return nlp


def assert_only_the_chosen_scores_count(nlp: Language, path: Path, output: Path) -> None:
    """The scores that the components add don't count, even after saving and loading."""
    chosen = {k: v for k, v in load_config(path)["training"]["score_weights"].items() if v}
    assert sum(chosen.values()) == 1.0
    nlp.to_disk(output / "again")
    for each in (nlp, spacy.load(output / "again")):
        weights = each.config["training"]["score_weights"]
        assert {name: weight for name, weight in weights.items() if weight} == chosen


@every(OF_TEXTS)
@pytest.mark.parametrize("exclusive", [True, False])
def test_spacy_train_trains_a_classifier(
    path: Path,
    exclusive: bool,
    texts: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if not exclusive:
        with_several_labels(texts["paths.train"])
    settings = {**texts, "components.trf_textcat.exclusive_classes": exclusive}
    nlp = train_with(path, settings, tmp_path / "out")
    capfd.readouterr()
    textcat = nlp.get_pipe("trf_textcat")
    assert textcat.labels == ("A", "B")
    assert textcat.exclusive_classes == exclusive
    assert textcat.model.get_ref("output_layer").get_param("W").any()
    metric = "cats_micro_f" if "multilabel" in path.name else "cats_macro_f"
    assert 0.0 <= nlp.meta["performance"][metric] <= 1.0
    cats = nlp("I love this film").cats
    assert cats.keys() == {"A", "B"}
    assert (sum(cats.values()) == pytest.approx(1.0, abs=1e-5)) == exclusive
    assert_only_the_chosen_scores_count(nlp, path, tmp_path)


@every(OF_TOKENS)
def test_spacy_train_trains_spacys_own_components(
    path: Path, tokens: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nlp = train_with(path, tokens, tmp_path / "out")
    capfd.readouterr()
    heads = ["ner"] if path.name == "ner.cfg" else ["tagger", "morphologizer", "parser"]
    assert nlp.get_pipe("trf_tok2vec").listening_components == heads
    for name in load_config(path)["training"]["score_weights"]:
        assert name.endswith(("_per_type", "_per_feat")) or name in nlp.meta["performance"]
    doc = nlp("I love Apple. Apple rose in Zürich.")
    assert doc.tensor.shape == (9, 16)
    assert doc._.trf_last_hidden_state is None
    assert_only_the_chosen_scores_count(nlp, path, tmp_path)


@every(CONFIGS)
def test_config_has_no_data_and_enough_steps(path: Path, overrides: dict[str, Any]) -> None:
    config = load_config(path, overrides={"paths.encoder": overrides["paths.encoder"]})
    assert config["paths"]["train"] is config["paths"]["dev"] is None
    assert config["training"]["max_steps"] > config["schedule"]["warmup_steps"] > 0
    if path in OF_TEXTS:
        assert config["components"]["trf_textcat"]["exclusive_classes"] == (
            "multilabel" not in path.name
        )


@every(CONFIGS)
def test_configs_agree_except_for_their_components(path: Path) -> None:
    """Only what depends on the labels and the components may differ."""
    base = load_config(FOLDER / "textcat.cfg")
    other = load_config(path)
    for config in (base, other):
        for key in ("exclusive_classes", "threshold"):
            config["components"].get("trf_textcat", {}).pop(key, None)
        del config["training"]["score_weights"]
        if path in OF_TOKENS:
            config["components"]["trf_tok2vec"].pop("keep", None)
            for key in ("pipeline", "batch_size"):
                config["nlp"].pop(key)
            config["components"] = config["components"]["trf_tok2vec"]
            for section in config["corpora"].values():
                del section["@readers"]
            for key in (
                *("batcher", "max_epochs", "max_steps", "eval_frequency", "patience"),
                # Over many epochs, token classifiers gain from it.
                "dropout",
            ):
                config["training"].pop(key)
            for schedule in ("trf_lr", "learn_rate"):
                config["training"]["optimizer"][schedule].pop("total_steps")
                config["training"]["optimizer"][schedule].pop("warmup_steps")
            del config["schedule"]
    assert other == base
