"""What one does without spaCy: running the encoder, and fine-tuning it, in plain transformers."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import contest
import numpy as np
import spacy
import torch
from spacy.util import minibatch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

_MAX_LENGTH = 512
# Batches that are sorted by length together, so that a batch has little padding.
_SORTED_TOGETHER = 16
_WARMUP_SHARE = 0.1
_WEIGHT_DECAY = 0.01
_NOT_DECAYED = ("bias", "LayerNorm.weight")


def floor(encoder: str, texts: str, limit: int | None, words_per_batch: int) -> dict[str, Any]:
    """The forward passes alone: sentences were found, tokenized, sorted and padded before."""
    found = contest.read_texts(texts, limit)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    sentences = [sentence.text for doc in nlp.pipe(found) for sentence in doc.sents]
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    rows = sorted(_tokenize(tokenizer, sentences), key=len)
    batches = [_pad(tokenizer, group) for group in _groups(rows, words_per_batch)]
    for batch in batches:
        if bool(batch["attention_mask"].all()):
            del batch["attention_mask"]
    with torch.inference_mode():
        for batch in batches[:3]:
            model(**batch)
        watch = contest.Stopwatch()
        for batch in batches:
            model(**batch)
        watch.stop()
    return {
        "words_per_s": contest.n_words(found) / watch.seconds,
        "seconds": watch.seconds,
        "peak_mb": contest.peak_mb(),
        "words_per_batch": words_per_batch,
    }


def textcat(
    encoder: str,
    data: str,
    seed: int,
    epochs: int,
    batch_size: int,
    limit: int | None,
    learn_rate: float = 5e-5,
) -> dict[str, Any]:
    """Fine-tune by the standard recipe, and score on the test texts."""
    random.seed(seed)
    torch.manual_seed(seed)
    train, test = (contest.read_labelled(data, part) for part in ("train", "test"))
    random.shuffle(train)
    train = train[:limit]
    labels = sorted({label for _, own in (*train, *test) for label in own})
    exclusive = all(len(own) == 1 for _, own in train)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(labels))
    rows, gold = _tokenize(tokenizer, [text for text, _ in train]), _matrix(train, labels)
    steps = epochs * -(-len(rows) // batch_size)
    optimizer = _optimizer(model, learn_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, int(_WARMUP_SHARE * steps), steps)

    model.train()
    watch = contest.Stopwatch()
    for _ in range(epochs):
        for batch in _shuffled(rows, batch_size):
            logits = model(**_pad(tokenizer, [rows[i] for i in batch])).logits
            _loss(logits, torch.from_numpy(gold[batch]), exclusive).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    watch.stop()
    peak = contest.peak_mb()

    logits = _predict(model, tokenizer, [text for text, _ in test])
    return {
        **_scores(logits, _matrix(test, labels), exclusive),
        "texts": len(train),
        "epochs": epochs,
        "train_s": watch.seconds,
        "peak_mb": peak,
    }


def _groups(rows: Sequence[list[int]], words: int) -> Iterator[list[list[int]]]:
    """Rows in their order, in groups of at most so many wordpieces, padding included."""
    group: list[list[int]] = []
    for row in rows:
        if group and len(row) * (len(group) + 1) > words:
            yield group
            group = []
        group.append(row)
    yield group


def _shuffled(rows: Sequence[list[int]], batch_size: int) -> list[list[int]]:
    """Indices of the rows, in random batches of like length."""
    order = random.sample(range(len(rows)), len(rows))
    batches = []
    for several in minibatch(order, batch_size * _SORTED_TOGETHER):
        alike = sorted(several, key=lambda i: len(rows[i]))
        batches += minibatch(alike, batch_size)
    random.shuffle(batches)
    return batches


def _tokenize(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, truncation=True, max_length=_MAX_LENGTH)["input_ids"]


def _pad(tokenizer: Any, rows: list[list[int]]) -> dict[str, torch.Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows],
        batch_first=True,
        padding_value=tokenizer.pad_token_id or 0,
    )
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    return {"input_ids": ids, "attention_mask": mask.long()}


def _matrix(texts: contest.Labelled, labels: list[str]) -> np.ndarray:
    """1 where a text has a label. *Shape:* (texts, labels)"""
    return np.array([[label in own for label in labels] for _, own in texts], np.float32)


def _optimizer(model: torch.nn.Module, learn_rate: float) -> torch.optim.AdamW:
    groups: dict[float, list[torch.nn.Parameter]] = {_WEIGHT_DECAY: [], 0.0: []}
    for name, parameter in model.named_parameters():
        groups[0.0 if name.endswith(_NOT_DECAYED) else _WEIGHT_DECAY].append(parameter)
    return torch.optim.AdamW(
        [{"params": own, "weight_decay": decay} for decay, own in groups.items()],
        lr=learn_rate,
        fused=True,
    )


def _loss(logits: torch.Tensor, gold: torch.Tensor, exclusive: bool) -> torch.Tensor:
    if exclusive:
        return torch.nn.functional.cross_entropy(logits, gold.argmax(dim=1))
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, gold)


def _predict(model: Any, tokenizer: Any, texts: list[str], batch_size: int = 32) -> np.ndarray:
    rows = _tokenize(tokenizer, texts)
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    logits = np.zeros((len(rows), model.config.num_labels), np.float32)
    model.eval()
    with torch.inference_mode():
        for batch in minibatch(by_length, batch_size):
            logits[batch] = model(**_pad(tokenizer, [rows[i] for i in batch])).logits.numpy()
    return logits


def _scores(logits: np.ndarray, gold: np.ndarray, exclusive: bool) -> dict[str, float]:
    """Accuracy, or micro F of the labels with a probability over one half; and macro F."""
    said = logits > 0
    if exclusive:
        said = np.eye(gold.shape[1], dtype=bool)[logits.argmax(axis=1)]
    right = (said * gold).sum(axis=0)
    both = said.sum(axis=0) + gold.sum(axis=0)
    macro = float((2 * right / np.maximum(both, 1)).mean())
    if exclusive:
        return {"accuracy": float(right.sum() / len(gold)), "macro_f": macro}
    return {"micro_f": float(2 * right.sum() / max(both.sum(), 1)), "macro_f": macro}


if __name__ == "__main__":
    contest.main(floor, textcat)
