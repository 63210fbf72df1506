"""LDMTextToImagePipeline, as CompVis/ldm-text2im-large-256."""

from trt_export.families import SCHEDULER, TORCH_WEIGHTS, Family, Part

FAMILY = Family(
    pipeline="LDMTextToImagePipeline",
    parts={
        "text_encoder": Part(
            "bert", classes=("LDMBertModel",), weights=("model.safetensors", "pytorch_model.bin")
        ),
        "unet": Part("unet", classes=("UNet2DConditionModel",), weights=TORCH_WEIGHTS),
        "vae": Part("vqvae", classes=("AutoencoderKL",), weights=TORCH_WEIGHTS),
        "scheduler": SCHEDULER,
        "tokenizer": Part(
            "tokenizer",
            classes=("BertTokenizer", "BertTokenizerFast"),
            config="tokenizer_config.json",
            files={"vocab": "vocab.txt"},
        ),
    },
    image_to_image=True,
    num_inference_steps=50,
    reference="LDMTextToImagePipeline",
)
