"""Prompts to pictures with latent diffusion, without PyTorch.

from trt_pipeline import trt_pipeline

pipe = trt_pipeline("engines/shapes")
pipe("a red circle", guidance_scale=6, seed=0).images[0].save("circle.png")
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from trt_pipeline.version import package_version

# ONNX Runtime 1.32 reports on its use over the network, unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from trt_pipeline.api import *  # noqa: F403

API = "trt_pipeline.api"
"""Module of the names below, loaded when one is first asked for: it costs NumPy's import."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return package_version()
    module = f"{__name__}.{name}"
    return import_module(module) if find_spec(module) else getattr(import_module(API), name)


def __dir__() -> list[str]:
    return [*import_module(API).__all__, "__version__"]
