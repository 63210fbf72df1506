"""LDMPipeline, as CompVis/ldm-celebahq-256: pictures from noise alone."""

from trt_export.families import SCHEDULER, TORCH_WEIGHTS, Family, Part

FAMILY = Family(
    pipeline="LDMPipeline",
    parts={
        "unet": Part("unet", classes=("UNet2DModel",), weights=TORCH_WEIGHTS),
        "vae": Part("vqvae", classes=("VQModel",), weights=TORCH_WEIGHTS),
        "scheduler": SCHEDULER,
    },
    num_inference_steps=50,
    reference="LDMPipeline",
)
