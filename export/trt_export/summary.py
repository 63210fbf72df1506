"""What an export did, or would do, as text for people; --json prints the same as it is."""

from collections.abc import Iterator, Mapping
from typing import Any

from trt_export.publishing.target import Replaced
from trt_pipeline.bundle.manifest import QUANTIZED_GRAPH


def table(summary: Mapping[str, Any]) -> str:
    """The summary of an export, or of what one would do, as text."""
    if "would_export" in summary:
        return "\n".join(_plan_lines(summary))
    parity = summary.get("quantized", ())
    built = summary.get("engines", {}).get("built", ())
    added = [
        *(
            f"{row['graph']} with 8 bits: a step's latents within {row['difference']:.4f}"
            for row in parity
        ),
        *(f"{engine}: built" for engine in built),
    ]
    signed = [f"signed with {summary['signed_with']}"] if "signed_with" in summary else []
    if not summary["exported"]:
        return "\n".join(
            [*added, *signed] or [f"{summary['bundle']} is up to date; nothing to do."]
        )
    lines = ["graph           arithmetic  output        difference  allowed"]
    lines += [_parity_line(row) for row in summary["parity"]]
    lines += ["", "stage                     seconds"]
    lines += [f"{name:25} {spent:7.1f}" for name, spent in summary["seconds"].items()]
    lines += ["", "file                                    MB"]
    lines += [f"{name:35} {size / 1e6:7.1f}" for name, size in summary["bytes"].items()]
    total_time, total_size = sum(summary["seconds"].values()), sum(summary["bytes"].values())
    return "\n".join(
        [
            *lines,
            "",
            *added,
            f"{summary['bundle']}: {total_size / 1e6:.1f} MB in {total_time:.0f} s",
            *signed,
        ]
    )


def _parity_line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['graph']:15} {row['precision']:11} {row['output']:13} "
        f"{row['difference']:10.1e}  {row['tolerance']:.0e}"
    )


def _plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan["would_export"]:
        size = sum(plan["read_bytes"].values())
        yield f"would export {plan['checkpoint']} ({size / 1e6:.1f} MB) to {plan['bundle']}"
        if plan["would_replace"]:
            yield f"  replaces {Replaced(**plan['would_replace'])}"
        chosen = {name: value for name, value in plan["options"].items() if value is not None}
        yield from (f"  {name} = {value}" for name, value in chosen.items())
        yield from (f"  fuses {lora}" for lora in plan["loras"])
        yield from (f"  adds the token {token}" for token in plan["tokens"])
        yield f"  stages: {', '.join(plan['stages'])}"
    else:
        yield f"{plan['bundle']} is up to date; no graph to export."
    if plan["would_quantize"]:
        yield f"would calibrate and quantize the {QUANTIZED_GRAPH}"
    yield from (f"would build {engine}" for engine in plan["would_build"])
