"""LDMPipeline, as CompVis/ldm-celebahq-256: pictures from noise alone."""

from trt_export.families import DIFFUSERS_WEIGHTS, SCHEDULER, Family, Part

FAMILY = Family(
    pipeline="LDMPipeline",
    parts={
        "unet": Part("unet", classes=("UNet2DModel",), weights=DIFFUSERS_WEIGHTS),
        "vae": Part(
            "vqvae",
            classes=("VQModel",),
            weights=DIFFUSERS_WEIGHTS,
            other_folders=("vae",),
        ),
        "scheduler": SCHEDULER,
    },
    num_inference_steps=50,
    reference="LDMPipeline",
    scales_input=True,
)
