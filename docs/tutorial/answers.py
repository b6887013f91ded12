"""Hide the labels of text messages, and fill them in again: the part of a person in the tutorial.

python answers.py hide              # sms.jsonl -> labeled.jsonl, pool.jsonl
python answers.py fill batch.jsonl  # fills in the labels of this file
python answers.py draw              # sms.jsonl -> random.jsonl, 50 of the pool with labels
"""

import json
import random
import sys
from pathlib import Path

LABELED, POOL, WRONG, DRAWN = 60, 3000, 3, 50


def read(path):
    return [json.loads(line) for line in Path(path).read_text("utf8").splitlines()]


def write(path, rows):
    Path(path).write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf8")


def messages():
    """All messages with their labels, shuffled."""
    rows = [{"text": row["text"], "label": row["labels"][0]} for row in read("sms.jsonl")]
    random.Random(0).shuffle(rows)
    return rows


def hide():
    """Keep the labels of a few messages, some of them wrong, and drop those of the others."""
    labeled, pool = messages()[:LABELED], messages()[LABELED : LABELED + POOL]
    for row in labeled[:WRONG]:
        row["label"] = "HAM" if row["label"] == "SPAM" else "SPAM"
    write("labeled.jsonl", labeled)
    write("pool.jsonl", [{"text": row["text"]} for row in pool])


def fill(path):
    """Fill in the right labels."""
    answers = {row["text"]: row["label"] for row in messages()}
    write(path, [{**row, "label": answers[row["text"]]} for row in read(path)])


def draw():
    """Label a random part of the pool, to compare with suggestions."""
    write("random.jsonl", messages()[LABELED : LABELED + DRAWN])


if __name__ == "__main__":
    {"hide": hide, "fill": fill, "draw": draw}[sys.argv[1]](*sys.argv[2:])
