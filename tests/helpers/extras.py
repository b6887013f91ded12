"""Which optional dependencies are installed, and marks for tests that need one."""

from importlib.util import find_spec

import pytest

HAS_OPENVINO = bool(find_spec("nncf") and find_spec("openvino"))
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="OpenVINO isn't installed")
