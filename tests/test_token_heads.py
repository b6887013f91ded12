"""spaCy's own components on the encoder, through the architecture trfcli.TokenVectors.v1."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.loop import train_while_improving
from spacy.util import fix_random_seed
from thinc.api import Adam
from token_heads import HEADS, TAGGER, examples, make
from torch.optim.optimizer import register_optimizer_step_post_hook

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


def encoder_bytes(nlp: Language) -> bytes:
    return nlp.get_pipe("trf_tok2vec").to_bytes()


def encoder_gradients(nlp: Language) -> torch.Tensor:
    parameters = nlp.get_pipe("trf_tok2vec").transformers_model.parameters()
    found = (p.grad.flatten().cpu() for p in parameters if p.grad is not None)
    return torch.cat([torch.zeros(0), *found])


# --- every head ---


@pytest.mark.parametrize("lang", ["trf", "xx"])
@pytest.mark.parametrize("head", HEADS)
def test_a_head_trains_together_with_the_encoder(tiny_bert: Path, lang: str, head: str) -> None:
    fix_random_seed(0)
    nlp = make(tiny_bert, lang, head)
    nlp.initialize(lambda: examples(nlp))
    before = encoder_bytes(nlp)
    optimizer = TransformersOptimizer(learn_rate=0.01, trf_lr=1e-3)
    losses = [nlp.update(examples(nlp), sgd=optimizer)[head] for _ in range(8)]
    assert min(losses[-3:]) < losses[0]
    assert encoder_bytes(nlp) != before
    docs = list(nlp.pipe(["", " ", "I love  Zürich's film.", "apple " * 100, ""]))
    assert all(np.isfinite(doc.tensor).all() for doc in docs)
    assert all(doc._.trf_last_hidden_state is None for doc in docs)
    again = type(nlp).from_config(nlp.config).from_bytes(nlp.to_bytes())
    for doc, other in zip(docs, again.pipe([doc.text for doc in docs]), strict=True):
        assert doc.to_json() == other.to_json()


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_several_heads_share_a_backward_pass_and_a_step(tiny_bert: Path, lang: str) -> None:
    heads = ("tagger", "parser", "ner", "trf_textcat")
    steps: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    found = {}
    for which in (*heads, heads):
        fix_random_seed(0)
        nlp = make(tiny_bert, lang, *heads)
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        for name in heads:
            # With the initial zeros, the encoder would get no gradient in the first step.
            for layer in nlp.get_pipe(name).model.walk():
                if layer.has_param("W") and not layer.get_param("W").any():
                    shape = layer.get_param("W").shape
                    layer.set_param("W", np.random.default_rng(1).normal(size=shape).astype("f"))
        excluded = [name for name in heads if name not in which]
        nlp.update(examples(nlp), sgd=False, exclude=excluded)
        nlp.get_pipe("trf_tok2vec").complete_update()
        found[which] = encoder_gradients(nlp)
    together = found.pop(heads)
    assert all(each.any() for each in found.values())
    torch.testing.assert_close(together, sum(found.values()), atol=1e-4, rtol=1e-3)
    assert not steps
    nlp.get_pipe("trf_tok2vec").finish_update(TransformersOptimizer())
    assert len(steps) == 1
    hook.remove()


@pytest.mark.parametrize("drop", [0.0, 0.2])
def test_training_is_reproducible_in_every_loop(tiny_bert: Path, drop: float) -> None:
    """In both languages, in our loop and in that of `spacy train`."""
    heads = ("tagger", "ner", "trf_textcat")
    found = []
    for lang, loop in (("trf", False), ("xx", False), ("trf", True), ("xx", True)):
        fix_random_seed(0)
        nlp = make(tiny_bert, lang, *heads)
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        optimizer = TransformersOptimizer(learn_rate=0.01, trf_lr=1e-3)
        if loop:
            run_loop(nlp, optimizer, drop)
        else:
            for _ in range(3):
                nlp.update(examples(nlp), sgd=optimizer, drop=drop)
        found.append([nlp.get_pipe(name).to_bytes() for name in ("trf_tok2vec", *heads)])
    assert found[0] == found[1] == found[2] == found[3]


def run_loop(nlp: Language, optimizer: Any, drop: float) -> None:
    batches = ((epoch, examples(nlp)) for epoch in range(3))
    for _ in train_while_improving(
        nlp,
        optimizer,
        batches,
        evaluate=lambda: (0.0, {}),
        dropout=drop,
        accumulate_gradient=1,
        patience=0,
        max_steps=0,
        eval_frequency=100,
        exclude=[],
        annotating_components=[],
        before_update=None,
    ):
        pass


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_a_frozen_encoder_is_not_changed(tiny_bert: Path, lang: str) -> None:
    nlp = make(tiny_bert, lang, "tagger", "ner")
    nlp.initialize(lambda: examples(nlp))
    before = encoder_bytes(nlp)
    annotates = [] if lang == "trf" else ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    frozen = ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    optimizer = TransformersOptimizer(learn_rate=0.01)
    losses = [
        nlp.update(examples(nlp), sgd=optimizer, exclude=frozen, annotates=annotates)["tagger"]
        for _ in range(10)
    ]
    assert losses[-1] < losses[0]
    assert not encoder_gradients(nlp).any()
    assert encoder_bytes(nlp) == before


def test_a_frozen_encoder_is_initialized_with_the_other_components(tiny_bert: Path) -> None:
    """spaCy disables frozen components while it initializes the others."""
    nlp = make(tiny_bert, "trf", "tagger", "trf_textcat")
    with nlp.select_pipes(disable=["sentencizer", "trf_wordpiecer", "trf_tok2vec"]):
        nlp.initialize(lambda: examples(nlp))
    assert nlp("I love it").cats.keys() == {"GOOD", "BAD"}


def test_a_frozen_encoder_that_does_not_annotate_is_an_error(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, "xx", "tagger")
    nlp.initialize(lambda: examples(nlp))
    with pytest.raises(PipelineError, match="no token vectors") as caught:
        nlp.update(examples(nlp), exclude=["trf_tok2vec"])
    assert "annotating_components" in caught.value.hint


def test_predicting_without_the_encoder_is_an_error(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, "xx", "tagger")
    nlp.initialize(lambda: examples(nlp))
    nlp.update(examples(nlp))
    with (
        nlp.select_pipes(disable=["trf_tok2vec"]),
        pytest.raises(PipelineError, match="no token vectors"),
    ):
        nlp("I love it")


def test_averages_of_the_optimizer_are_used(tiny_bert: Path) -> None:
    """Thinc averages the heads, our AdamW the encoder."""
    nlp = make(tiny_bert, "trf", "tagger")
    nlp.initialize(lambda: examples(nlp))
    optimizer = Adam(0.01, use_averages=True)
    for _ in range(3):
        nlp.update(examples(nlp), sgd=optimizer)
    output = nlp.get_pipe("tagger").model.get_ref("output_layer")
    last, encoder = output.get_param("W").copy(), encoder_bytes(nlp)
    with nlp.use_params(optimizer.averages):
        averaged = output.get_param("W").copy()
        np.testing.assert_array_equal(averaged, optimizer.averages[output.id, "W"])
        assert encoder_bytes(nlp) != encoder
    assert not np.array_equal(averaged, last)
    np.testing.assert_array_equal(output.get_param("W"), last)
    assert encoder_bytes(nlp) == encoder


# --- the benefit of fine-tuning ---

NAMES = ["apple", "fox", "dog", "film", "pie", "prize", "news", "fun"]


def far_sighted(nlp: Language, n: int, seed: int) -> list[Example]:
    """Create examples in which the label of a name depends on a word two to four tokens away."""
    generator = random.Random(seed)
    made = []
    for _ in range(n):
        words, tags = [], []
        for _ in range(2):
            word = generator.choice(["love", "hate"])
            gap = ["the"] * generator.randint(1, 3)
            words += [word, *gap, generator.choice(NAMES)]
            tags += ["V", *("D" for _ in gap), word.upper()]
        entities = ["O" if tag in "VD" else f"U-{tag}" for tag in tags]
        annotations = {"words": words, "tags": tags, "entities": entities}
        made.append(Example.from_dict(Doc(nlp.vocab, words=words), annotations))
    return made


def test_fine_tuning_beats_frozen_random_weights(
    tiny_bert: Path,
) -> None:
    scores = {}
    for frozen in (True, False):
        fix_random_seed(0)
        nlp = make(tiny_bert, "trf", "tagger", "ner", sentences=False)
        train, dev = far_sighted(nlp, 64, 0), far_sighted(nlp, 40, 1)
        nlp.initialize(lambda train=train: train)
        optimizer = TransformersOptimizer(learn_rate=0.01, trf_lr=0.003)
        for _ in range(20):
            for start in range(0, len(train), 16):
                batch = train[start : start + 16]
                nlp.update(batch, sgd=optimizer, exclude=["trf_tok2vec"] if frozen else [])
        scores[frozen] = nlp.evaluate(dev)
    assert scores[False]["tag_acc"] > scores[True]["tag_acc"] + 0.2
    assert scores[False]["ents_f"] > scores[True]["ents_f"] + 0.3


# --- how encoder and heads find each other ---


def test_the_encoder_finds_its_heads(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, "xx", "tagger")
    nlp.add_pipe("ner", name="own_tok2vec")
    encoder = nlp.get_pipe("trf_tok2vec")
    assert encoder.listening_components == ["tagger"]
    (layer,) = encoder.listeners
    assert layer.has_dim("nO") is None
    encoder.load()
    assert layer.get_dim("nO") == 16
    # A head that is added later is found at once, and forgotten when it is removed.
    nlp.add_pipe("ner", config=HEADS["ner"])
    assert [each.get_dim("nO") for each in encoder.listeners] == [16, 16]
    nlp.remove_pipe("tagger")
    assert encoder.listening_components == ["ner"]
    (layer,) = encoder.listeners
    assert encoder.remove_listener(layer, "ner")
    assert not encoder.remove_listener(layer, "ner")
    assert encoder.listeners == []


def test_a_head_without_an_encoder_is_an_error() -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("tagger", config=TAGGER)
    with pytest.raises(PipelineError, match="width of the token vectors is unknown"):
        nlp.initialize(lambda: examples(nlp)[1:2])


def test_an_encoder_of_another_width_is_an_error(
    tiny_bert: Path, tiny_bert_of_width_32: Path
) -> None:
    nlp = make(tiny_bert, "xx", "tagger")
    nlp.initialize(lambda: examples(nlp))
    config = {"trf_name": str(tiny_bert_of_width_32)}
    encoder = nlp.replace_pipe("trf_tok2vec", "trf_tok2vec", config=config)
    encoder.load()
    with pytest.raises(PipelineError, match=r"32 columns, .* trained with 16"):
        nlp("I love it")


@pytest.fixture
def tiny_bert_of_width_32(tiny_bert: Path, tmp_path: Path) -> Path:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(tiny_bert, hidden_size=32)
    AutoModel.from_config(config).save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "wide")
    return tmp_path / "wide"
