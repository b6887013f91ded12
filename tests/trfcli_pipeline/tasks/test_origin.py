import math
from typing import Any

from trfcli_pipeline.tasks.origin import read_origin

TRAINING = {"texts": 40, "epochs": 3, "trf_lr": None, "chosen": {"epochs": 3}, "request": "1f"}
NOTHING: dict[str, Any] = {"encoder": {}, "training": None, "inference": None, "stored_in": None}


def test_what_is_recorded_is_read() -> None:
    meta = {
        "trf": {
            "encoder": {"name": "tiny", "source": "the directory tiny", "revision": None},
            "training": TRAINING,
            "inference": {"backend": "torch", "precision": "bf16", "loss": 0},
            "stored_in": "fp16",
        }
    }
    assert read_origin(meta) == {
        "encoder": {"name": "tiny", "source": "the directory tiny"},
        "training": {"texts": 40, "chosen": {"epochs": 3}, "epochs": 3},
        "inference": {"backend": "torch", "precision": "bf16", "loss": 0},
        "stored_in": "fp16",
    }


def test_pipelines_of_others_have_no_origin() -> None:
    assert read_origin({"lang": "en"}) == NOTHING


def test_values_of_wrong_types_are_left_out() -> None:
    damaged = {"texts": "many", "data": ["a.csv"], "metric": None, "learn_rate": math.inf}
    meta = {"trf": {"training": damaged, "inference": {"loss": []}, "stored_in": 16}}
    assert read_origin(meta) == NOTHING


def test_hashes_and_roles_of_wrong_types_are_left_out() -> None:
    damaged = {"data": {"a": "01", "b": ["02"]}, "data_roles": {"train": ["a"], "dev": []}}
    found = read_origin({"trf": {"training": damaged}})["training"]
    assert found == {"data": {"a": "01"}, "data_roles": {"train": ["a"]}}
