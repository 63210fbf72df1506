"""LatentConsistencyModelPipeline: latent consistency models, which embed the guidance scale."""

from dataclasses import replace

from trt_export.families.stable_diffusion import FAMILY as PLAIN

FAMILY = replace(
    PLAIN,
    pipeline="LatentConsistencyModelPipeline",
    other_pipelines=(
        "LatentConsistencyModelImg2ImgPipeline",
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
    ),
    parts={
        **PLAIN.parts,
        "scheduler": replace(PLAIN.parts["scheduler"], classes=("LCMScheduler",)),
    },
    embeds_guidance=True,
    num_inference_steps=4,
    guidance_scale=8.5,
    distilled=(),
    guides_above_1_only=False,
    reference="LatentConsistencyModelPipeline",
    scheduler_settings={},
    corrected_sample_size=0,
)
