import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from extras import needs_openvino
from optimizing import DEVICE, LABELS, TEXTS, equal, run
from packaging.requirements import Requirement
from spacy.language import Language

from trfcli_pipeline.encoder.backends import InferenceConfig
from trfcli_pipeline.errors import DataError, OutputError, PipelineError
from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.pipeline.processes import forks_work
from trfcli_pipeline.tasks import before_after
from trfcli_pipeline.tasks import optimize as optimizing
from trfcli_pipeline.tasks.info import describe_pipeline
from trfcli_pipeline.tasks.model_card import model_card
from trfcli_pipeline.tasks.optimize import Decided, Sampled, Saved, optimize
from trfcli_pipeline.tasks.package import package
from trfcli_pipeline.training.train import train_textcat

# The optimized pipeline


@needs_openvino
def test_events_have_metrics_before_and_after(events: list[Any], workspace: Path) -> None:
    sampled, tried, decided, saved = events
    inference = InferenceConfig("openvino", "int8", "cpu")
    # The texts have eight sentences; the empty one has none.
    expected = Sampled(8, texts=6, all_texts=6, device=DEVICE, candidates=[inference])
    assert sampled == expected
    assert decided == Decided([tried], tried)
    assert tried.inference == inference
    compared = tried.compared
    assert compared.metric == "accuracy"
    assert compared.before.score == pytest.approx(4 / 6)
    assert compared.loss == pytest.approx(
        100 * (compared.before.score - (compared.after.score or 0))
    )
    assert 0.99 <= compared.cosine < 1
    assert compared.before.speed > 0 < compared.after.speed
    sizes = {
        name: sum(each.stat().st_size for each in (workspace / name).rglob("*") if each.is_file())
        for name in ("model", "int8")
    }
    assert compared.before.size == sizes["model"]
    assert isinstance(saved, Saved)
    assert saved.size == sizes["int8"]
    assert not list(workspace.glob(".*"))


@needs_openvino
def test_everything_but_the_encoder_stays_the_same(fast: Language, workspace: Path) -> None:
    slow = spacy.load(workspace / "model")
    assert fast.pipe_names == slow.pipe_names
    assert fast.config == slow.config
    for one, other in zip(fast.pipe(TEXTS), slow.pipe(TEXTS), strict=True):
        assert one._.trf_alignment == other._.trf_alignment
        assert one._.trf_word_pieces == other._.trf_word_pieces
        assert one.cats.keys() == other.cats.keys()
        for name in ("trf_last_hidden_state", "trf_pooler_output"):
            assert one._.get(name).shape == other._.get(name).shape
        assert len(one._.trf_all_hidden_states) == 3
        total = one._.trf_last_hidden_state.sum(axis=0)
        np.testing.assert_allclose(one.tensor.sum(axis=0), total, atol=1e-3)


@needs_openvino
@pytest.mark.filterwarnings("ignore:.W109:UserWarning")
def test_copies_and_worker_processes_predict_the_same(fast: Language) -> None:
    docs = list(fast.pipe(TEXTS, batch_size=2))
    # OpenVINO may hang in forks of this process.
    assert not forks_work(fast)
    assert equal(fast.pipe(TEXTS, batch_size=2, n_process=2), docs)
    docs = list(fast.pipe(TEXTS))
    component: Any = fast.get_pipe("trf_tok2vec")
    for copied in (copy.deepcopy(component), pickle.loads(pickle.dumps(component))):
        fast._components = [
            (name, copied if name == "trf_tok2vec" else pipe) for name, pipe in fast._components
        ]
        assert equal(fast.pipe(TEXTS), docs)
    again = spacy.blank("trf", config={"nlp": {"tokenizer": fast.config["nlp"]["tokenizer"]}})
    for name in fast.pipe_names:
        config = {**fast.get_pipe_config(name)}
        again.add_pipe(config.pop("factory"), name=name, config=config)
    assert equal(again.from_bytes(fast.to_bytes()).pipe(TEXTS), docs)


@needs_openvino
def test_optimized_pipeline_can_be_saved_again_and_packaged(
    fast: Language, workspace: Path, tmp_path: Path
) -> None:
    fast.to_disk(tmp_path / "again")
    assert equal(spacy.load(tmp_path / "again").pipe(TEXTS), fast.pipe(TEXTS))
    package(workspace / "int8", tmp_path / "out", name="fast", version="1.0.0", formats=())
    meta = srsly.read_json(tmp_path / "out" / "xx_fast-1.0.0" / "meta.json")
    for requirements in (meta["requirements"], fast.meta["requirements"]):
        (own,) = [Requirement(each) for each in requirements if each.startswith("trfcli")]
        assert own.extras == {"openvino"}
    card = model_card(meta)
    assert "| Precision | int8 |" in card.replace("`", "")


@needs_openvino
def test_description_keeps_the_facts_of_the_original_encoder(
    fast: Language, workspace: Path
) -> None:
    slow = describe_pipeline(load_pipeline(str(workspace / "model")))["encoder"]
    found = describe_pipeline(fast)["encoder"]
    assert found == {**slow, "backend": "openvino", "precision": "int8"}


# The comparison


def test_without_known_labels_the_vectors_are_compared(workspace: Path, tmp_path: Path) -> None:
    for name, texts in (("a", "texts.jsonl"), ("b", "unknown.jsonl")):
        # A label that the classifier doesn't know can't be scored.
        labels = ["EGGS", *LABELS[1:]]
        rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
        srsly.write_jsonl(workspace / "unknown.jsonl", rows)
        sampled, tried, _, _ = run(workspace, texts, output=tmp_path / name)
        assert sampled.unknown_labels == (["EGGS"] if name == "b" else [])
        compared = tried.compared
        assert compared.metric == "cosine"
        assert compared.before.score is None
        assert compared.loss == pytest.approx(100 * (1 - compared.cosine))


def test_dev_texts_are_preferred(workspace: Path, tmp_path: Path) -> None:
    dev = str(workspace / "labeled.jsonl")
    sampled, tried, _, _ = run(workspace, dev=dev, output=tmp_path / "out")
    assert (sampled.segments, sampled.texts, sampled.all_texts) == (0, 6, 6)
    assert tried.compared.metric == "accuracy"


def test_many_texts_are_sampled(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_after, "_MAX_TEXTS", 4)
    sampled, tried, _, _ = run(workspace, "labeled.jsonl", output=tmp_path / "out")
    assert (sampled.segments, sampled.texts, sampled.all_texts) == (0, 4, 6)
    # Texts 0, 1, 3 and 5; the first label is predicted for all.
    assert tried.compared.before.score == 0.75


# Refusals


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"max_loss": 0.0},
            r"bf16 lowers cosine by 0\.\d\d points, more than the 0 allowed; nothing was",
        ),
        ({"precision": "int8"}, "int8 needs the OpenVINO"),
        ({"dev": "texts.jsonl"}, "none of the 6 records has a label"),
        ({"dev": "nowhere.jsonl"}, "no such file"),
    ],
)
def test_refusals_leave_no_files(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    problem: str,
) -> None:
    monkeypatch.chdir(workspace)
    before = sorted(workspace.rglob("*"))
    with pytest.raises((PipelineError, DataError), match=problem):
        run(workspace, **settings)
    assert sorted(workspace.rglob("*")) == before


def test_output_must_be_free_and_not_the_input(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is the input"):
        run(workspace, output=workspace / "model", force=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.cfg").touch()
    with pytest.raises(OutputError, match="is not a spaCy pipeline"):
        run(workspace, output=tmp_path / "out", force=True)
    spacy.blank("xx").to_disk(tmp_path / "out")
    with pytest.raises(OutputError, match="already exists"):
        run(workspace, output=tmp_path / "out")
    *_, saved = run(workspace, output=tmp_path / "out", force=True)
    assert isinstance(saved, Saved)
    assert spacy.load(tmp_path / "out").pipe_names[-1] == "trf_textcat"


def test_openvino_refuses_pipelines_that_keep_attentions(
    make_nlp: Callable[..., Language], workspace: Path, tmp_path: Path
) -> None:
    make_nlp(all_attentions=True).to_disk(tmp_path / "attentive")
    texts = str(workspace / "texts.jsonl")
    with pytest.raises(PipelineError, match="OpenVINO can't return attentions"):
        list(optimize(str(tmp_path / "attentive"), tmp_path / "out", texts, precision="int8"))
    assert not (tmp_path / "out").exists()


def test_pipeline_without_trf_tok2vec_is_refused(workspace: Path, tmp_path: Path) -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "plain")
    with pytest.raises(PipelineError, match="has no trf_tok2vec"):
        run(workspace, model=tmp_path / "plain", output=tmp_path / "out")


@needs_openvino
@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("has_gpu", [False, True])
def test_optimized_pipeline_can_be_neither_optimized_nor_trained(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_gpu: bool
) -> None:
    if has_gpu:
        gpu = torch.device("cuda", 0)
        monkeypatch.setattr(optimizing, "choose_device", lambda *args: gpu)
        monkeypatch.setattr(optimizing, "find_candidates", lambda *args: [])
    fast, data = str(workspace / "int8"), str(workspace / "labeled.jsonl")
    with pytest.raises(PipelineError, match=r"is already optimized \(int8, openvino\)"):
        list(optimize(fast, tmp_path / "out", data))
    before = json.dumps(srsly.read_json(workspace / "int8" / "meta.json"))
    with pytest.raises(PipelineError, match="can't be trained"):
        list(train_textcat(fast, data, dev=data))
    assert json.dumps(srsly.read_json(workspace / "int8" / "meta.json")) == before
