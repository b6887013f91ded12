"""Updates of trf_tok2vec: backward passes and optimizer steps."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from classifiers import DATA, encoder_weights, examples, make, multilingual, same
from encoder_gradients import gradients
from spacy.language import Language
from transformers import AutoModel

from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


def test_an_update_is_one_step(trf: Language, steps: list[int], backward_passes: list[int]) -> None:
    optimizer = TransformersOptimizer()
    before = encoder_weights(trf)
    for number in (1, 2, 3):
        losses = trf.update(examples(trf), sgd=optimizer)
        assert losses["trf_tok2vec"] == 0.0
        assert losses["textcat"] > 0.0
        assert (len(steps), len(backward_passes)) == (number, number)
        after = encoder_weights(trf)
        assert not same(before, after)
        before = after
        assert not any(grad is not None for grad in gradients(trf).values())


def test_an_update_is_one_step_with_any_sub_batches(
    tiny_bert: Path, steps: list[int], backward_passes: list[int]
) -> None:
    found = []
    for words_per_batch in (0, 1):
        nlp = make(multilingual(), tiny_bert, "textcat", words_per_batch=words_per_batch)
        nlp.update(examples(nlp), sgd=False)
        nlp.get_pipe("trf_tok2vec").complete_update()
        found.append(gradients(nlp))
        nlp.get_pipe("trf_tok2vec").finish_update(TransformersOptimizer())
    assert len(steps) == 2
    # Each sub-batch has a backward pass of its own: the sums don't depend on free memory.
    assert len(backward_passes) == 1 + 5
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, atol=1e-6, rtol=1e-3)


def test_copies_from_the_device_do_not_grow_with_sub_batches(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, backward_passes: list[int]
) -> None:
    # Each of these makes the CPU wait for a GPU.
    calls = Counter[str]()
    for name in ("item", "cpu", "numpy", "tolist", "__bool__", "__int__", "__float__"):
        method = getattr(torch.Tensor, name)

        def count(*args: Any, name: str = name, method: Any = method, **options: Any) -> Any:
            calls[name] += 1
            return method(*args, **options)

        monkeypatch.setattr(torch.Tensor, name, count)
    found = []
    # Of the same length, because transformers looks at the mask of a padded sub-batch. On a GPU,
    # sub-batches are always padded.
    texts = ["it is", "is it", "it a"]
    annotations = [{"cats": {"GOOD": 1.0, "BAD": 0.0}} for _ in texts]
    for words_per_batch in (0, 1):
        options = {"words_per_batch": words_per_batch, "device": "cpu"}
        nlp = make(multilingual(), tiny_bert, "textcat", **options)
        calls.clear()
        nlp.update(texts, annotations, sgd=TransformersOptimizer())
        found.append(dict(calls))
    assert found[0] == found[1]
    assert found[0]["numpy"] > 0
    assert len(backward_passes) == 1 + 3


@pytest.mark.parametrize(
    "kinds", [["segment_sums"], ["segment_sums", "pooler_output"], ["segment_sums", "tensor"]]
)
def test_docs_get_the_outputs_that_the_heads_read(trf: Language, kinds: list[str]) -> None:
    encoder, head = trf.get_pipe("trf_tok2vec"), trf.get_pipe("textcat")
    found = []
    for options in ({}, {"kinds": kinds}):
        batch = examples(trf)
        for name in ("sentencizer", "trf_wordpiecer"):
            for example in batch:
                trf.get_pipe(name)(example.predicted)
        encoder.update(batch, sgd=False, **options)
        doc = batch[0].predicted
        assert (doc._.trf_last_hidden_state is None) == bool(options)
        assert doc._.trf_pooler_output is not None or "pooler_output" not in kinds
        assert bool(doc.tensor.size) == (not options or "tensor" in kinds)
        # The gradient of token rows is written as that of wordpieces.
        assert (doc._.trf_d_last_hidden_state is None) == (not doc.tensor.size)
        assert (doc._.trf_d_segment_sums is None) == bool(doc.tensor.size)
        head.update(batch, sgd=False)
        encoder.release(example.predicted for example in batch)
        encoder.complete_update()
        found.append(gradients(trf))
        encoder.finish_update(TransformersOptimizer(trf_lr=0.0))
    for name, expected in found[0].items():
        if expected is not None:
            assert torch.equal(found[1][name], expected), name


def test_several_heads_share_a_backward_pass(
    tiny_bert: Path, steps: list[int], backward_passes: list[int]
) -> None:
    found = {}
    for heads in (("one",), ("two",), ("one", "two")):
        nlp = make(multilingual(), tiny_bert, "one", "two", words_per_batch=0)
        nlp.update(
            examples(nlp), sgd=False, exclude=[each for each in ("one", "two") if each not in heads]
        )
        nlp.get_pipe("trf_tok2vec").complete_update()
        found[heads] = gradients(nlp)
    assert len(backward_passes) == 3
    assert not steps
    for name, both in found["one", "two"].items():
        if both is None:
            # No head reads the pooler.
            assert "pooler" in name
            continue
        expected = found["one",][name] + found["two",][name]
        torch.testing.assert_close(both, expected, atol=1e-6, rtol=1e-4)
        assert not torch.equal(both, found["one",][name]) or not both.any()


@pytest.mark.parametrize("completion", ["update", "predict", "pipe", "to_disk", "to_bytes"])
def test_a_plain_language_completes_a_step_before_it_matters(
    trf: Language, plain: Language, tmp_path: Path, steps: list[int], completion: str
) -> None:
    for nlp in (trf, plain):
        nlp.update(examples(nlp), sgd=TransformersOptimizer())
    # The plain Language takes its pending step only now.
    assert len(steps) == 1
    assert not same(encoder_weights(trf), encoder_weights(plain))
    match completion:
        case "update":
            plain.update(examples(plain), sgd=False)
        case "predict":
            np.testing.assert_array_equal(plain(DATA[0][0]).tensor, trf(DATA[0][0]).tensor)
        case "pipe":
            list(plain.pipe(["", "I love it."]))
        case "to_disk":
            plain.to_disk(tmp_path / "plain")
            saved = AutoModel.from_pretrained(tmp_path / "plain" / "trf_tok2vec" / "model")
            assert same(saved.state_dict(), encoder_weights(trf))
        case "to_bytes":
            plain.to_bytes()
    assert len(steps) == 2
    assert same(encoder_weights(trf), encoder_weights(plain))


def test_training_in_a_plain_language_gives_the_same_weights(
    trf: Language, plain: Language, steps: list[int]
) -> None:
    for nlp in (trf, plain):
        optimizer = TransformersOptimizer()
        for _ in range(3):
            losses = nlp.update(examples(nlp), sgd=optimizer, drop=0.0)
        assert losses["textcat"] > 0
    plain.get_pipe("trf_tok2vec").complete_update()
    assert len(steps) == 6
    assert same(encoder_weights(trf), encoder_weights(plain))
    for one, other in zip(
        trf.get_pipe("textcat").model.walk(), plain.get_pipe("textcat").model.walk(), strict=True
    ):
        for name in one.param_names:
            np.testing.assert_array_equal(one.get_param(name), other.get_param(name))
    for text, _ in DATA:
        assert trf(text).cats == plain(text).cats


def test_without_an_optimizer_gradients_accumulate(trf: Language, steps: list[int]) -> None:
    first, second = examples(trf)[:2], examples(trf)[2:]
    tok2vec = trf.get_pipe("trf_tok2vec")
    before = encoder_weights(trf)
    apart = []
    for batch in (first, second):
        trf.update(batch, sgd=False)
        tok2vec.complete_update()
        apart.append(gradients(trf))
        tok2vec.transformers_model.zero_grad()
    trf.update(first, sgd=False)
    trf.update(second, sgd=False)
    tok2vec.complete_update()
    assert not steps
    assert same(encoder_weights(trf), before)
    for name, together in gradients(trf).items():
        if together is None:
            # No head reads the pooler.
            assert "pooler" in name
        else:
            torch.testing.assert_close(together, apart[0][name] + apart[1][name])
    tok2vec.finish_update(TransformersOptimizer())
    assert len(steps) == 1
    assert not same(encoder_weights(trf), before)


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_an_annotating_encoder_trains(tiny_bert: Path, lang: str, steps: list[int]) -> None:
    """As with spaCy's setting annotating_components."""
    nlp = make(spacy.blank(lang), tiny_bert, "textcat")
    before = encoder_weights(nlp)
    nlp.update(examples(nlp), sgd=TransformersOptimizer(), annotates=["trf_tok2vec"])
    nlp.get_pipe("trf_tok2vec").complete_update()
    assert len(steps) == 1
    assert not same(before, encoder_weights(nlp))


def test_an_update_without_heads_changes_nothing(bert: Language, steps: list[int]) -> None:
    before = encoder_weights(bert)
    for _ in range(2):
        bert.update(examples(bert), sgd=TransformersOptimizer())
    bert("I love it.")
    assert not steps
    assert same(before, encoder_weights(bert))


def test_an_empty_update_changes_nothing(trf: Language, steps: list[int]) -> None:
    tok2vec = trf.get_pipe("trf_tok2vec")
    assert tok2vec.update([], sgd=TransformersOptimizer()) == {"trf_tok2vec": 0.0}
    assert not steps


@pytest.mark.parametrize("head_rate", [0.0, 0.01])
@pytest.mark.parametrize("encoder_rate", [0.0, 0.001])
def test_encoder_and_heads_have_separate_learning_rates(
    trf: Language, encoder_rate: float, head_rate: float
) -> None:
    output = trf.get_pipe("textcat").model.get_ref("output_layer")
    encoder, head = encoder_weights(trf), output.get_param("W").copy()
    trf.update(examples(trf), sgd=TransformersOptimizer(head_rate, trf_lr=encoder_rate))
    assert same(encoder, encoder_weights(trf)) == (not encoder_rate)
    assert np.array_equal(head, output.get_param("W")) == (not head_rate)


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_an_excluded_encoder_is_not_changed(tiny_bert: Path, lang: str, steps: list[int]) -> None:
    nlp = make(spacy.blank(lang), tiny_bert, "textcat")
    before = nlp.get_pipe("trf_tok2vec").to_bytes()
    annotates = [] if lang == "trf" else ["trf_tok2vec"]
    found = []
    optimizer = TransformersOptimizer()
    for _ in range(10):
        losses = nlp.update(
            examples(nlp), sgd=optimizer, exclude=["trf_tok2vec"], annotates=annotates
        )
        found.append(losses["textcat"])
    assert "trf_tok2vec" not in losses
    assert found[-1] < found[0]
    assert not steps
    assert nlp.get_pipe("trf_tok2vec").to_bytes() == before


def test_training_with_dropout_is_reproducible(tiny_bert: Path) -> None:
    weights = []
    for _ in range(2):
        nlp = make(multilingual(), tiny_bert, "textcat")
        spacy.util.fix_random_seed(3)
        nlp.update(examples(nlp), sgd=TransformersOptimizer(), drop=0.3)
        weights.append(encoder_weights(nlp))
    assert same(*weights)
    # Predictions don't use dropout.
    np.testing.assert_array_equal(nlp("I love it.").tensor, nlp("I love it.").tensor)
    nlp = make(multilingual(), tiny_bert, "textcat")
    nlp.update(examples(nlp), sgd=TransformersOptimizer(), drop=0.0)
    assert not same(weights[0], encoder_weights(nlp))
