"""Marks for tests that need an optional dependency."""

from importlib.util import find_spec

import pytest

needs_openvino = pytest.mark.skipif(
    not (find_spec("nncf") and find_spec("openvino")), reason="OpenVINO isn't installed"
)
