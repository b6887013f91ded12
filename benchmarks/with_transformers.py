"""Plain transformers as a contestant: run an encoder, and fine-tune it by the standard recipe."""

import random
import time
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
# Batches to sort by length together, so that each has little padding.
_SORTED_TOGETHER = 16
_WARMUP_SHARE = 0.1
_WEIGHT_DECAY = 0.01
_NOT_DECAYED = ("bias", "LayerNorm.weight")


def floor(encoder: str, texts: str, limit: int | None, words_per_batch: int) -> dict[str, Any]:
    """Time the forward passes alone: sentences are split, tokenized, sorted and padded before."""
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
        start = time.perf_counter()
        for batch in batches:
            model(**batch)
        seconds = time.perf_counter() - start
    return {**contest.encoding_result(found, seconds), "words_per_batch": words_per_batch}


def textcat(
    encoder: str,
    data: str,
    seed: int,
    epochs: int,
    batch_size: int,
    limit: int | None,
    learn_rate: float = 5e-5,
) -> dict[str, Any]:
    """Fine-tune by the standard recipe, and score on the test set."""
    random.seed(seed)
    torch.manual_seed(seed)
    train, test = (contest.read_labeled(data, part) for part in ("train", "test"))
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
    start = time.perf_counter()
    for _ in range(epochs):
        for batch in _shuffled(rows, batch_size):
            logits = model(**_pad(tokenizer, [rows[i] for i in batch])).logits
            _loss(logits, torch.from_numpy(gold[batch]), exclusive).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - start
    peak = contest.peak_mb()

    logits = _predict(model, tokenizer, [text for text, _ in test])
    return {
        **_scores(logits, _matrix(test, labels), exclusive),
        "texts": len(train),
        "epochs": epochs,
        "train_s": seconds,
        "peak_mb": peak,
    }


def _groups(rows: Sequence[list[int]], words: int) -> Iterator[list[list[int]]]:
    """Group consecutive rows into batches of at most `words` wordpieces, padding included."""
    group: list[list[int]] = []
    for row in rows:
        if group and len(row) * (len(group) + 1) > words:
            yield group
            group = []
        group.append(row)
    yield group


def _shuffled(rows: Sequence[list[int]], batch_size: int) -> list[list[int]]:
    """Divide the indices of the rows into random batches of similar length."""
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


def _matrix(texts: contest.Labeled, labels: list[str]) -> np.ndarray:
    """Build a matrix with 1 where a label applies. *Shape:* (texts, labels)"""
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
    """Score logits: accuracy, or micro F at a threshold of 0.5 if not exclusive; and macro F."""
    predicted = logits > 0
    if exclusive:
        predicted = np.eye(gold.shape[1], dtype=bool)[logits.argmax(axis=1)]
    right = (predicted * gold).sum(axis=0)
    both = predicted.sum(axis=0) + gold.sum(axis=0)
    macro = float((2 * right / np.maximum(both, 1)).mean())
    if exclusive:
        return {"accuracy": float(right.sum() / len(gold)), "macro_f": macro}
    return {"micro_f": float(2 * right.sum() / max(both.sum(), 1)), "macro_f": macro}


if __name__ == "__main__":
    contest.main(floor, textcat)
