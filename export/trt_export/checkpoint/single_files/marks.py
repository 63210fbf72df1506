"""Marks that tools leave in a single file of how its model was trained."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_export.checkpoint.single_files.generations import Generation
from trt_export.checkpoint.single_files.weights import AVERAGE
from trt_pipeline.errors import CheckpointError

V_PREDICTION, ZERO_SNR = "v_pred", "ztsnr"
"""Names of empty tensors: the model predicts v, and its schedule ends without signal."""
METADATA = "modelspec.prediction_type"
STATED = {"epsilon": "epsilon", "v": "v_prediction"}
"""Its values → diffusers' prediction_type."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a file says of its training."""

    prediction_type: str | None = None
    said_by: str = ""
    """The mark that says so."""
    zero_snr: bool = False
    has_averages: bool = False

    @classmethod
    def of(cls, path: Path, names: Collection[str], metadata: Mapping[str, str]) -> "Marks":
        """CheckpointError for a mark that nobody knows."""
        stated = metadata.get(METADATA)
        if stated is not None and stated not in STATED:
            raise CheckpointError(
                f"{path}: {METADATA} is {stated!r:.80}, expected {' or '.join(STATED)}."
            )
        is_v = V_PREDICTION in names
        return cls(
            prediction_type="v_prediction" if is_v else STATED.get(stated or ""),
            said_by=V_PREDICTION if is_v else METADATA,
            zero_snr=ZERO_SNR in names,
            has_averages=any(name.startswith(AVERAGE) for name in names),
        )

    def scheduler(self, kind: str) -> dict[str, Any]:
        """What a scheduler of diffusers has for it; ValueError if it has nothing."""
        config: dict[str, Any] = {}
        if self.prediction_type:
            config["prediction_type"] = self.prediction_type
        if self.zero_snr and kind == "PNDMScheduler":
            raise ValueError(f"it is marked {ZERO_SNR}, which a {kind} does not have")
        if self.zero_snr:
            config["rescale_betas_zero_snr"] = True
        return config

    def notes(
        self, path: Path, prediction_type: str, generation: Generation, has_yaml: bool
    ) -> tuple[str, ...]:
        """What a user should know of how the file was read."""
        found = []
        if not has_yaml and self.prediction_type:
            found.append(f"{path} predicts {prediction_type}, as {self.said_by} in it says.")
        elif not has_yaml and len({*generation.pixels.values()}) > 1:
            found.append(
                f"{path} does not say whether it predicts noise or v. As in diffusers, a file of "
                f"{generation.name} is taken for {prediction_type} at "
                f"{generation.pixels[prediction_type]} pixels. If pictures are wrong, give its "
                "YAML with --config."
            )
        if not has_yaml and self.has_averages:
            found.append(
                f"{path} holds moving averages of the UNet's weights as well. As in diffusers, the "
                "weights themselves are taken. A YAML with use_ema: true takes the averages."
            )
        return tuple(found)
