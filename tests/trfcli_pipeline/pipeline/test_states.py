"""Pipelines that are saved, copied, renamed, sourced and trained in any order."""

import copy
import gc
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from classifiers import multilingual
from encoder_gradients import gradients_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from trfcli_pipeline import (
    TransformersTextCategorizer,
    TransformersTok2Vec,
    TransformersWordPiecer,
)
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

# The last but one is longer than the encoder accepts.
TEXTS = [
    "I love it. I hate this film; it is a terrible bore.",
    "Unbelievable! The lazy dog",
    "apple pie, " * 30,
    "",
]
LANGUAGES = st.sampled_from(["trf", "xx"])
KINDS = (TransformersWordPiecer, TransformersTok2Vec, TransformersTextCategorizer)


@Language.component("test_states_sentences")
def split_at_semicolons(doc: Doc) -> Doc:
    """Set sentence boundaries without declaring it."""
    for token in doc:
        token.is_sent_start = token.i == 0 or doc[token.i - 1].text in (";", ",")
    return doc


@Language.component("test_states_merger")
def merge_first_tokens(doc: Doc) -> Doc:
    if len(doc) > 1:
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[:2])
    return doc


class Observer:
    """Records the Docs of an update."""

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def update(self, examples: list[Example], **_: Any) -> None:
        self.docs = [eg.predicted for eg in examples]


@Language.factory("test_states_observer")
def make_observer(nlp: Language, name: str) -> Observer:
    return Observer()


def to_disk(nlp: Language) -> Language:
    with tempfile.TemporaryDirectory() as path:
        nlp.to_disk(path)
        return spacy.load(path)


def to_bytes(nlp: Language) -> Language:
    again = type(nlp).from_config(nlp.config, meta=nlp.meta)
    return again.from_bytes(nlp.to_bytes())


def to_pickle(nlp: Language) -> Language:
    return pickle.loads(pickle.dumps(nlp))


COPIES = st.sampled_from([to_disk, to_bytes, to_pickle, copy.deepcopy])


# Examples of `test_any_order_of_operations`, and operations in each.
EXAMPLES, STEPS = 7, 8


def examples(docs: list[Doc]) -> list[Example]:
    cats = [{"GOOD": float(i % 2), "BAD": float(1 - i % 2)} for i in range(len(docs))]
    return [Example.from_dict(doc, {"cats": each}) for doc, each in zip(docs, cats, strict=True)]


def segments(docs: list[Doc]) -> list[Any]:
    return [(doc._.trf_word_pieces, doc._.trf_segments[:, 2].tolist()) for doc in docs]


class PipelineMachine(RuleBasedStateMachine):
    """A pipeline, with what it predicts as long as it isn't trained."""

    bert: Path
    gpt2: Path
    # Number of times that the invariants were found true.
    n_checks = 0

    @initialize(
        lang=LANGUAGES,
        sentences=st.sampled_from(["sentencizer", "test_states_sentences"]),
        kind=st.sampled_from(["sentences", "windows", "doc"]),
    )
    def create(self, lang: str, sentences: str, kind: str) -> None:
        self.nlp = multilingual() if lang == "trf" else spacy.blank(lang)
        self.nlp.add_pipe(sentences)
        self.nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(self.bert), "segments": kind})
        self.nlp.add_pipe("trf_tok2vec", config={"trf_name": str(self.bert)})
        textcat = self.nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
        for label in ("GOOD", "BAD"):
            textcat.add_label(label)
        self.nlp.initialize()
        output = textcat.model.get_ref("output_layer")
        W = np.random.default_rng(0).normal(size=output.get_param("W").shape)
        output.set_param("W", W.astype("f"))
        self.expect()

    def expect(self) -> None:
        docs = list(self.nlp.pipe(TEXTS))
        self.segments = segments(docs)
        self.hidden = [doc._.trf_last_hidden_state for doc in docs]
        self.cats = [doc.cats for doc in docs]

    def name_of(self, kind: type) -> str:
        return require_component(self.nlp, kind).name

    @rule(make_copy=COPIES)
    def replace_by_a_copy(self, make_copy: Callable[[Language], Language]) -> None:
        self.nlp = make_copy(self.nlp)
        gc.collect()

    @rule(lang=LANGUAGES)
    def source(self, lang: str) -> None:
        nlp = multilingual() if lang == "trf" else spacy.blank(lang)
        for name in self.nlp.pipe_names:
            nlp.add_pipe(name, source=self.nlp)
        self.nlp = nlp
        gc.collect()

    @rule(kind=st.sampled_from(KINDS))
    def rename(self, kind: type) -> None:
        name = self.name_of(kind)
        self.nlp.rename_pipe(name, name.removesuffix("_2") if name.endswith("_2") else f"{name}_2")

    @rule(kind=st.sampled_from(KINDS), part=st.sampled_from(["cfg", "model", "tokenizer"]))
    def save_without_a_part(self, kind: type, part: str) -> None:
        component: Any = require_component(self.nlp, kind)
        component.from_bytes(component.to_bytes(exclude=[part]), exclude=[part])

    @rule(place=st.sampled_from([*KINDS, None]))
    def move_merger(self, place: type | None) -> None:
        if "test_states_merger" in self.nlp.pipe_names:
            self.nlp.remove_pipe("test_states_merger")
        before = None if place is None else self.name_of(place)
        self.nlp.add_pipe("test_states_merger", before=before)

    @rule(seen=st.sampled_from(["no", "own", "other tokenizer", "other settings"]))
    def update(self, seen: str) -> None:
        """Train on new Docs, or on Docs that a pipeline has processed."""
        if seen == "own":
            docs = list(self.nlp.pipe(TEXTS))
        else:
            docs = [self.nlp.make_doc(text) for text in TEXTS]
        if seen.startswith("other"):
            path = self.gpt2 if seen == "other tokenizer" else self.bert
            vocab = self.nlp.vocab
            other = TransformersWordPiecer.from_pretrained(vocab, str(path), max_length=9)
            docs = [other(doc) for doc in docs]
        observer = self.nlp.add_pipe("test_states_observer")
        self.nlp.update(examples(docs), sgd=TransformersOptimizer())
        self.nlp.remove_pipe("test_states_observer")
        assert segments(observer.docs) == self.segments
        self.expect()
        assert segments(observer.docs) == self.segments

    @rule(make_copy=COPIES)
    def train_copies(self, make_copy: Callable[[Language], Language]) -> None:
        losses, found = [], []
        for nlp in (copy.deepcopy(self.nlp), make_copy(self.nlp)):
            encoder = require_component(nlp, TransformersTok2Vec)
            encoder.transformers_model.zero_grad()
            docs = [nlp.make_doc(text) for text in TEXTS]
            losses.append([*nlp.update(examples(docs), sgd=False).values()])
            encoder.complete_update()
            found.append(gradients_of(encoder.transformers_model))
        assert losses[0] == pytest.approx(losses[1])
        assert any(each is not None and each.any() for each in found[0].values())
        for name, gradient in found[0].items():
            if gradient is not None:
                np.testing.assert_allclose(gradient.cpu(), found[1][name].cpu(), atol=1e-5)

    @rule()
    def refuse_what_does_not_fit(self) -> None:
        with pytest.raises(PipelineError, match="only one encoder"):
            self.nlp.add_pipe("trf_tok2vec", name="second")
        self.nlp.remove_pipe("second")
        with pytest.raises(ValueError, match="E922"):
            require_component(self.nlp, TransformersTextCategorizer).add_label("NEW")

    @invariant()
    def predicts_the_same(self) -> None:
        docs = list(self.nlp.pipe(TEXTS))
        assert segments(docs) == self.segments
        for doc, hidden, cats in zip(docs, self.hidden, self.cats, strict=True):
            np.testing.assert_array_equal(doc._.trf_last_hidden_state, hidden)
            assert doc.cats == pytest.approx(cats, abs=1e-5)

    @invariant()
    def aligns_the_tokens_as_they_are(self) -> None:
        for doc in self.nlp.pipe(TEXTS):
            assert doc._.trf_alignment == [
                [
                    piece
                    for piece, (start, end) in enumerate(doc._.trf_piece_spans.tolist())
                    if start < end and start < token.idx + len(token) and end > token.idx
                ]
                for token in doc
            ]
            rows = sum((token.vector for token in doc), np.zeros(16, "f"))
            np.testing.assert_allclose(rows, doc._.trf_last_hidden_state.sum(axis=0), atol=1e-3)
        PipelineMachine.n_checks += 1


def test_any_order_of_operations(tiny_bert: Path, tiny_gpt2: Path) -> None:
    PipelineMachine.bert, PipelineMachine.gpt2 = tiny_bert, tiny_gpt2
    run_state_machine_as_test(
        PipelineMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert PipelineMachine.n_checks >= EXAMPLES
