"""What an export would do: read from the checkpoint and the bundle, with nothing written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_export.checkpoint.folder import Checkpoint
from trt_export.engines.build import planned_engines
from trt_export.engines.options import EngineOptions
from trt_export.export import (
    ExportOptions,
    defaults_of,
    limits_of,
    stages_of,
    to_be_replaced,
    up_to_date,
)
from trt_export.publishing.hashes import Hashes
from trt_pipeline.bundle import Bundle


@dataclass(frozen=True)
class Plan:
    """An export as it was asked for. Its methods raise what the export would."""

    checkpoint: Checkpoint
    out: Path
    replace: bool
    options: ExportOptions
    engines: EngineOptions | None
    quantize: bool
    prompts: Sequence[str] | None
    """To calibrate with; None for the default ones."""

    def notes(self) -> Sequence[str]:
        """What a user should know of how the checkpoint is read."""
        if self._current:
            return ()
        # Imported here: an export that has nothing to do must not wait for torch.
        from trt_export.networks.description import describe

        description = describe(self.checkpoint)
        limits_of(description, self.options)
        defaults_of(self.checkpoint, description, self.options)
        return description.notes

    def summary(self) -> dict[str, Any]:
        """As --json prints it."""
        current, checkpoint = self._current, self.checkpoint
        before = None
        if current is None:
            before = to_be_replaced(checkpoint, self.out, self._hashes, self.replace)
        graphs = checkpoint.family.graphs
        files = checkpoint.read_files.items()
        return {
            "checkpoint": str(checkpoint.path),
            "bundle": str(self.out),
            "would_export": current is None,
            "would_replace": before.document if before else None,
            "would_quantize": self.quantize and not (current and self._is_quantized(current)),
            "would_build": planned_engines(current, self.engines, graphs) if self.engines else [],
            "options": asdict(self.options),
            "loras": [f"{lora.path}:{lora.scale:g}" for lora in checkpoint.loras],
            "tokens": checkpoint.new_tokens,
            "read_bytes": {name: path.stat().st_size for name, path in files},
            "stages": list(stages_of(checkpoint)),
        }

    @cached_property
    def _hashes(self) -> Hashes:
        return Hashes.remembered(self.out)

    @cached_property
    def _current(self) -> Bundle | None:
        return up_to_date(self.checkpoint, self.out, self.options, self._hashes)

    def _is_quantized(self, bundle: Bundle) -> bool:
        from trt_export.quantization.bundles import is_quantized

        return is_quantized(bundle, self.prompts)
