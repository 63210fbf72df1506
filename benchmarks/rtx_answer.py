"""What TensorRT for RTX says of the GPU of this machine.

    python benchmarks/rtx_answer.py

Builds a plan of one addition for each target it knows, asks whether each is valid here before it is
deserialized, and deserializes those that are. Prints JSON: target → answer.
"""

import json
from typing import Any

from trt_pipeline.flavours import load_flavour, messages, named_targets, network_flags


def answers() -> dict[str, str]:
    """Target → valid, or why not."""
    trt = load_flavour("tensorrt_rtx")
    log = messages(trt)
    return {target: _answer(trt, log, target) for target in named_targets(trt)}


def usable(found: dict[str, str]) -> bool:
    """Whether a plan of any target was deserialized."""
    return any(answer.startswith("runs") for answer in found.values())


def _answer(trt: Any, log: Any, target: str) -> str:
    plan = _plan(trt, log, target)
    if plan is None:
        return f"no plan: {log.last_error}"
    try:
        runtime = trt.Runtime(log)
        validity, diagnostics = runtime.get_engine_validity(plan)
    except (RuntimeError, TypeError) as error:  # how the bindings say that there is no CUDA
        return f"no runtime: {error}"
    if validity == trt.EngineValidity.INVALID:
        return f"invalid, diagnostics {diagnostics}"
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None or engine.create_execution_context() is None:
        return f"{validity.name.lower()}, but it does not load: {log.last_error}"
    return f"runs, {validity.name.lower()}"


def _plan(trt: Any, log: Any, target: str) -> Any:
    builder = trt.Builder(log)
    network = builder.create_network(network_flags(trt))
    number = network.add_input("number", trt.float32, (16,))
    added = network.add_elementwise(number, number, trt.ElementWiseOperation.SUM)
    network.mark_output(added.get_output(0))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target.replace('.', '')}"), 0)
    return builder.build_serialized_network(network, config)


if __name__ == "__main__":
    print(json.dumps(answers(), indent=1))
