"""Run each measurement in its own process, and write its result as a line of JSON."""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent


class Contestant(NamedTuple):
    """What to measure: a name for the tables, and a function to run in a process of its own.

    Attributes:
        script: "trf", "transformers" or "spacy_transformers": with_SCRIPT.py has the function.
    """

    name: str
    script: str
    function: str
    arguments: dict[str, Any]


class Runner:
    """Runs contestants and writes down their results.

    Args:
        options: Command-line options that all benchmarks have.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.benchmark: str = options.benchmark
        self.rival_python: str | None = options.spacy_transformers
        self.threads: int = options.threads
        self.work = Path(options.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.results = Path(options.results)
        self.encoder = _locate(options.encoder)
        self.models: list[str] = getattr(options, "model", None) or [self._init_pipeline()]

    def run_all(self, contestants: Iterable[Contestant], data: str, number: int) -> list[Any]:
        """Run each contestant once, as one round."""
        return [self._run(each, data, number) for each in contestants]

    def time_process(self, name: str, command: list[str], number: int) -> None:
        """Measure the wall-clock time of a whole process."""
        start = time.perf_counter()
        self._start(command)
        self._write({"contestant": name, "round": number, "seconds": time.perf_counter() - start})

    def note_machine(self) -> None:
        """Write down the machine and the command."""
        cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        self._write(
            {
                "command": shlex.join(["python", *map(_shorten, sys.argv)]),
                "machine": {
                    "processor": cpu[1] if cpu else platform.processor(),
                    "cores": os.cpu_count(),
                    "memory_gb": round(pages * size / 1e9, 1),
                    "system": platform.system(),
                },
                "threads": self.threads,
            }
        )

    def _run(self, contestant: Contestant, data: str, number: int) -> dict[str, Any] | None:
        name, script, function, arguments = contestant
        python = sys.executable
        if script == "spacy_transformers":
            if self.rival_python is None:
                return None
            python = self.rival_python
        program = str(_HERE / f"with_{script}.py")
        output = self._start([python, program, function, json.dumps(arguments)])
        result = json.loads(output.splitlines()[-1])
        self._write({"contestant": name, "data": Path(data).stem, "round": number, **result})
        return result

    def _start(self, command: list[str]) -> str:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{done.stderr}\nfailed: {shlex.join(command)}")
        return done.stdout

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps({"benchmark": self.benchmark, **line}, ensure_ascii=False)
        print(text, flush=True)
        with self.results.open("a", encoding="utf8") as file:
            file.write(f"{text}\n")

    def _init_pipeline(self) -> str:
        """Create a float32 pipeline from the encoder, unless an earlier run did."""
        path = self.work / "fp32"
        if not path.exists():
            self._start([trf_program(), "init", self.encoder, str(path)])
        return str(path)


def trf_program() -> str:
    return str(Path(sys.executable).with_name("trf"))


def _shorten(argument: str) -> str:
    """Keep only the end of an absolute path, whose beginning is particular to this machine."""
    return "/".join(["...", *Path(argument).parts[-2:]]) if argument.startswith("/") else argument


def _locate(encoder: str) -> str:
    """Find the directory of an encoder, for contestants that don't know our names."""
    from trfcli_pipeline.huggingface.sources import locate

    return str(locate(encoder).path)
