"""Test the explanations of `trf explain`: does the score drop without the tokens that it names?

For each data set, MiniLM is fine-tuned on some training texts, and three tokens are deleted from
test texts: those that add most to the score of the predicted label, and random ones in five draws.
`--model` tests models that are there already.

    python benchmarks/explain.py sst2 trec6 sms_spam --data DIRECTORY

DIRECTORY has a directory for each set, with train.jsonl and test.jsonl.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trfcli_pipeline.tasks.faithfulness import measure_faithfulness


def train(data: Path, work: Path, options: list[str]) -> Path:
    """Fine-tune MiniLM on the training texts of a data set. Returns the model's directory."""
    base, trained = work / "base", work / data.name
    trf = [sys.executable, "-m", "trfcli"]
    if not base.exists():
        subprocess.run([*trf, "init", "minilm", str(base)], check=True)
    command = [*trf, "train", str(base), str(data / "train.jsonl"), "--output", str(trained)]
    subprocess.run([*command, *options], check=True)
    return trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="directory with a trained model for each set")
    parser.add_argument("--train-texts", default="1000")
    parser.add_argument("--epochs", default="auto")
    parser.add_argument("--texts", type=int, default=200, help="test texts")
    parser.add_argument("--steps", type=int, nargs="+", default=[0], help="0: as many as needed")
    options = parser.parse_args()
    print("| data | steps | texts | top 3 | random 3 | ratio | s per text |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as work:
        for name in options.sets:
            data = options.data / name
            settings = ["--max-texts", options.train_texts]
            if options.epochs != "auto":
                settings += ["--epochs", options.epochs]
            model = options.model / name if options.model else train(data, Path(work), settings)
            for steps in options.steps:
                start = time.perf_counter()
                found = measure_faithfulness(
                    str(model), data / "test.jsonl", steps=steps or None, max_texts=options.texts
                )
                seconds = (time.perf_counter() - start) / max(found.n_texts, 1)
                low, high = found.ratio_interval or (float("nan"), float("inf"))
                ratio = f"{found.ratio or float('nan'):.1f} ({low:.1f} to {high:.1f})"
                drops = f"{found.top_drop:.3f} | {found.random_drop:.3f}"
                print(
                    f"| {name} | {steps or 'as needed'} | {found.n_texts} | {drops} | {ratio} | "
                    f"{seconds:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
