"""Run the `console` blocks of README and docs, and put their real output into the pages.

    python docs/tools/outputs.py [PAGE ...]

All blocks run in one folder, page by page: the tutorial first, whose pipelines the other pages use.
Without pages, all are run in a new folder.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from blocks import ROOT, commands, pages, read_blocks

WORK = ROOT / ".demo" / "docs"
COLUMNS = "80"
# What readers copy from the sample data, and what they call it.
SAMPLE = {"train.jsonl": "sms.jsonl", "test.jsonl": "sms_test.jsonl"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@cache
def run(command: str) -> str:
    """Run a command and return its output. A command on several pages runs only once."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=WORK,
        env={**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}")
    return _ESCAPES.sub("", done.stdout)


def refresh(page: Path) -> None:
    """Replace the output of each command on a page."""
    text = page.read_text(encoding="utf8")
    # From the last block to the first, so that the places of those still to come stay right.
    replacements = []
    for block in read_blocks(page):
        if block.language != "console" or block.reason is not None:
            continue
        parts = []
        for typed in re.findall(r"^\$ (?:.*\\\n)*.*$", block.code, re.MULTILINE):
            print(typed, flush=True)
            (command,) = commands(typed, prompt="$ ")
            lines = [line.rstrip() for line in run(command).rstrip().splitlines()]
            parts.append("\n".join([typed, *lines]) + "\n")
        replacements.append((block.span, "\n".join(parts)))
    for (start, end), code in reversed(replacements):
        text = text[:start] + code + text[end:]
    page.write_text(text, encoding="utf8")


def main() -> None:
    if not sys.argv[1:]:
        shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    for file in (ROOT / "docs" / "tutorial").glob("*.*[vy]"):
        shutil.copy(file, WORK)
    for name, target in SAMPLE.items():
        shutil.copy(ROOT / "sample_data" / "sms_spam" / name, WORK / target)
    first = ROOT / "docs" / "tutorial" / "index.md"
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or [first, *pages()]
    for page in dict.fromkeys(chosen):
        refresh(page)


if __name__ == "__main__":
    main()
