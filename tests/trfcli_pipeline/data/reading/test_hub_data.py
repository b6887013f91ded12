"""Data sets from a stand-in for the Hugging Face hub."""

import pytest
from data_cases import PLAIN
from fake_hub import FakeHub

from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import DataError

NAME = "someone/spam"


@pytest.fixture
def data_set(hub: FakeHub) -> str:
    hub.repositories[NAME] = {
        "README.md": b"# Spam",
        "dataset_infos.json": b"{}",
        "data/train.csv": PLAIN,
        "data/test.csv": b"text,label\na,HAM\n",
    }
    return f"hf://datasets/{NAME}"


def texts(address: str) -> list[str]:
    return [record.text for record in read_records(address, labeled=True)]


def test_part_of_a_data_set_is_read(data_set: str, hub: FakeHub) -> None:
    assert len(texts(f"{data_set}#train")) == 6
    assert texts(f"{data_set}#test") == texts(f"{data_set}/data/test.csv") == ["a"]
    assert texts(f"hf://{NAME}@v1/data/test.csv") == ["a"]
    # Only what is read is downloaded, and only once.
    assert sorted(set(hub.served)) == ["data/test.csv", "data/train.csv"]


def test_several_files_are_a_question(data_set: str) -> None:
    with pytest.raises(DataError) as caught:
        texts(data_set)
    assert caught.value.message == f"{data_set}: several data files: train.csv, test.csv"
    assert caught.value.hint == f"Name one of them: '{data_set}#train.csv'"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("hf://datasets/someone/else", "not on the Hugging Face hub (or private)"),
        (f"hf://datasets/{NAME}@v9", "has no revision v9"),
        (f"hf://datasets/{NAME}/more", "no data file in it"),
        ("hf://datasets/a b", "not the address of a data set"),
    ],
)
def test_errors_are_one_line(data_set: str, address: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        texts(address)
    assert caught.value.message == f"{address}: {problem}"


def test_gated_data_set(data_set: str, hub: FakeHub) -> None:
    hub.gated.add(NAME)
    with pytest.raises(DataError, match="this data set is gated"):
        texts(data_set)


def test_hub_that_is_down(data_set: str, hub: FakeHub) -> None:
    hub.status = 503
    with pytest.raises(DataError, match="can't be had from the Hugging Face hub"):
        texts(f"{data_set}#train")
