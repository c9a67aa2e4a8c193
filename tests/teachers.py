"""Tiny vision-language models with random weights, made on the spot: one that chats, one that only captions."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "a", "dog", "runs", "man", "red", "green", "over", "grass", "two"]
PAD, START, END, _, IMAGE = range(5)
_SIDE = {"height": 32, "width": 32}
_SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
_PICTURES = {**_SIZES, "image_size": 32, "patch_size": 16}
_TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image> {% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}"
)


def _tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def save_chatting(folder: Path, *, template: bool = True) -> Path:
    """A LLaVA that knows nine words; without its `template` it is like a base model that nobody taught to chat."""
    torch.manual_seed(0)
    ids = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_PICTURES),
        text_config=LlamaConfig(**_SIZES, vocab_size=len(WORDS), max_position_embeddings=256, **ids),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config)
    # As instruction-tuned models have it: habits of their own, which must not matter.
    model.generation_config.update(do_sample=True, temperature=0.1, top_k=2, **ids)
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size=_SIDE, do_center_crop=False),
        tokenizer=_tokenizer(),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE if template else None,
    ).save_pretrained(folder)
    return folder


def save_captioning(folder: Path) -> Path:
    """A BLIP: it says something about a picture without being asked."""
    torch.manual_seed(0)
    text = {**_SIZES, "encoder_hidden_size": 16, "vocab_size": len(WORDS), "max_position_embeddings": 128}
    ids = {"bos_token_id": START, "eos_token_id": END, "sep_token_id": END, "pad_token_id": PAD}
    config = BlipConfig(text_config={**text, **ids}, vision_config=_PICTURES, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size=_SIDE), _tokenizer()).save_pretrained(folder)
    return folder
