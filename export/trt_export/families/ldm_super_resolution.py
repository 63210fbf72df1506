"""LDMSuperResolutionPipeline, as CompVis/ldm-super-resolution-4x-openimages."""

from trt_export.families import DIFFUSERS_WEIGHTS, SCHEDULER, Family, Part

FAMILY = Family(
    pipeline="LDMSuperResolutionPipeline",
    parts={
        "unet": Part("unet", classes=("UNet2DModel",), weights=DIFFUSERS_WEIGHTS),
        "vae": Part(
            "vqvae",
            classes=("VQModel", "AutoencoderKL"),
            weights=DIFFUSERS_WEIGHTS,
            other_folders=("vae",),
        ),
        "scheduler": SCHEDULER,
    },
    condition="low_resolution",
    num_inference_steps=100,
    reference="LDMSuperResolutionPipeline",
    scales_latents=False,
)
