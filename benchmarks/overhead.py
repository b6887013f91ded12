"""CPU time of training steps with a tiny encoder, beside a plain PyTorch loop.

Nearly all of it is overhead, which keeps a GPU waiting. Both train on the same texts in batches of
similar length, without dropout. Each measurement runs in a new process, in turns. CPU time is
measured, because it depends less on other programs than elapsed time.

    python benchmarks/overhead.py ./minilm data/trec6 data/sst2 --results overhead.jsonl

ENCODER is a directory with a tokenizer, which the tiny encoder takes over.
"""

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from contest import read_labeled
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Stepped
from trfcli_pipeline.training.train import train_textcat

# Steps before the measurement: memory is taken, and kernels are built.
_SKIPPED = 4
_SORTED_TOGETHER = 16
_CONTESTANTS = ("trf", "trf, one sub-batch", "plain PyTorch loop")


def save_tiny_encoder(tokenizer: str, path: Path) -> None:
    """Save a BERT with two layers of width 16, and the tokenizer of another encoder."""
    own = AutoTokenizer.from_pretrained(tokenizer)
    own.save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(own),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=own.pad_token_id,
    )
    BertModel(config).save_pretrained(path)


def trf_steps(
    encoder: str,
    data: str,
    size: int,
    *,
    words_per_batch: int | None = None,
    precision: str = "fp32",
) -> Iterator[None]:
    """Train as `trf train-textcat` does; yields after each step."""
    key = "components.trf_tok2vec.words_per_batch"
    arguments = TrainingArguments(
        epochs=1000,
        batch_size=size,
        checkpoint_every=0,
        eval_every=10**6,
        linear_probe=False,
        precision=precision,
        overrides={} if words_per_batch is None else {key: words_per_batch},
    )
    with tempfile.TemporaryDirectory() as folder:
        init_model(encoder, Path(folder, "base"))
        # Its pipeline is in a reference cycle, and would count as memory of the training.
        gc.collect()
        train = train_textcat(
            str(Path(folder, "base")),
            f"{data}/train.jsonl",
            output=Path(folder, "model"),
            arguments=arguments,
        )
        for event in train:
            if isinstance(event, Stepped):
                yield


def plain_steps(
    encoder: str, data: str, size: int, *, device: str = "cpu", precision: str = "fp32"
) -> Iterator[None]:
    """Train a mean-pooled linear head as one would write it by hand; yields after each step."""
    texts, labels = zip(*read_labeled(data, "train"), strict=True)
    names = sorted({label for own in labels for label in own})
    gold = [names.index(own[0]) for own in labels]
    ids = AutoTokenizer.from_pretrained(encoder)(list(texts))["input_ids"]
    module = AutoModel.from_pretrained(encoder).to(device).train()
    head = torch.nn.Linear(module.config.hidden_size, len(names)).to(device)
    weights = [*module.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for batch in _batches([len(each) for each in ids], size):
        longest = max(len(ids[i]) for i in batch)
        padded = torch.tensor([ids[i] + [0] * (longest - len(ids[i])) for i in batch])
        mask = torch.tensor([[1] * len(ids[i]) + [0] * (longest - len(ids[i])) for i in batch])
        padded, mask = padded.to(device), mask.to(device)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            hidden = module(input_ids=padded, attention_mask=mask).last_hidden_state
        means = (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        targets = torch.tensor([gold[i] for i in batch], device=device)
        loss = torch.nn.functional.cross_entropy(head(means), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        yield


def _batches(lengths: list[int], size: int) -> Iterator[list[int]]:
    """Batches of similar length in random order, as those of `trfcli.batch_by_length.v1`."""
    order = list(range(len(lengths)))
    while True:
        random.shuffle(order)
        for start in range(0, len(order), size * _SORTED_TOGETHER):
            chunk = sorted(order[start : start + size * _SORTED_TOGETHER], key=lengths.__getitem__)
            batches = [chunk[i : i + size] for i in range(0, len(chunk), size)]
            random.shuffle(batches)
            yield from batches


def measure(contestant: str, encoder: str, data: str, size: int, n_steps: int) -> float:
    """The median CPU time of a step, in microseconds per text."""
    torch.set_num_threads(1)
    random.seed(0)
    if contestant == "plain PyTorch loop":
        steps = plain_steps(encoder, data, size)
    else:
        words_per_batch = None if contestant == "trf" else 0
        steps = trf_steps(encoder, data, size, words_per_batch=words_per_batch)
    for _ in range(_SKIPPED):
        next(steps)
    seconds = []
    for _ in range(n_steps):
        start = time.process_time()
        next(steps)
        seconds.append(time.process_time() - start)
    steps.close()
    return statistics.median(seconds) / size * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(measure(options.only, options.encoder, *options.data, *options.sizes, options.steps))
        return
    with tempfile.TemporaryDirectory() as folder:
        save_tiny_encoder(options.encoder, Path(folder))
        for data in options.data:
            for size in options.sizes:
                found: dict[str, list[float]] = {each: [] for each in _CONTESTANTS}
                for _ in range(options.rounds):
                    for each, values in found.items():
                        arguments = [folder, data, "--sizes", str(size), "--only", each]
                        arguments += ["--steps", str(options.steps)]
                        command = [sys.executable, __file__, *arguments]
                        done = subprocess.run(command, check=True, capture_output=True, text=True)
                        values.append(float(done.stdout.split()[-1]))
                medians = {each: statistics.median(values) for each, values in found.items()}
                row = {"data": data, "batch_size": size, "us_per_text": medians}
                print(json.dumps(row), flush=True)
                if options.results:
                    with options.results.open("a") as stream:
                        stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
