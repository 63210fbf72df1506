"""LDMSuperResolutionPipeline, as CompVis/ldm-super-resolution-4x-openimages."""

from trt_export.families import SCHEDULER, TORCH_WEIGHTS, Family, Part

FAMILY = Family(
    pipeline="LDMSuperResolutionPipeline",
    parts={
        "unet": Part("unet", classes=("UNet2DModel",), weights=TORCH_WEIGHTS),
        "vae": Part("vqvae", classes=("VQModel", "AutoencoderKL"), weights=TORCH_WEIGHTS),
        "scheduler": SCHEDULER,
    },
    condition="low_resolution",
    num_inference_steps=100,
    reference="LDMSuperResolutionPipeline",
)
