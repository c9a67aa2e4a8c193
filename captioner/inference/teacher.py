"""A large vision-language model that writes captions for a small one to learn from.

The model is any of transformers' `AutoModelForImageTextToText`, from a folder or from the hub: JSON and safetensors
only, and no code of the repository is run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    __version__,
)

from captioner.errors import CaptionerError, ConfigError
from captioner.model.device import choose_device, tells_of_memory
from captioner.model.hub import split_revision
from captioner.search.sampling import check_sampling, draw, random_numbers, reshaped

PROMPT: Final = "Describe this picture in one short sentence, as a caption. Answer with the sentence alone."
"""What a teacher is asked unless the user says it otherwise."""

LONGEST_SIDE: Final = 1024
"""In pixels; larger pictures are shown to the teacher shrunk to this."""

_TOKENS_A_WORD: Final = 4


@dataclass(frozen=True)
class Asking:
    """What a teacher is asked for."""

    prompt: str | None = None
    """None: `PROMPT`, and nothing for a model that describes pictures without being asked."""
    captions: int = 5
    max_words: int = 30
    temperature: float = 1.0
    top_p: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        check_sampling(temperature=self.temperature, top_k=None, top_p=self.top_p)
        if self.captions < 1 or self.max_words < 2:
            raise ConfigError(
                "A teacher must be asked for 1 caption or more, each of 2 words or more, but "
                f"{self.captions} and {self.max_words} came."
            )


class Teacher:
    """A vision-language model, ready to describe pictures."""

    def __init__(self, model: Any, processor: Any, *, name: str, revision: str | None) -> None:
        self.name = name
        self.revision = revision
        """The commit of a model of the hub."""
        self._model = model
        self._processor = processor
        processor.tokenizer.padding_side = "left"  # what is said goes on where the prompt ends
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token

    @classmethod
    def from_pretrained(cls, called: str, *, device: str | None = None) -> Teacher:
        """The model in the folder `called`, or of this name on the hub (`user/name`, `user/name@revision`).

        Raises CaptionerError when there is none, it cannot describe pictures, or memory is short; ConfigError when
        there is no such device.
        """
        place = choose_device(device)
        name, revision = split_revision(called)
        safely = {"revision": revision, "trust_remote_code": False}
        with _told_of(called):
            config = AutoConfig.from_pretrained(name, **safely)
            if type(config) not in AutoModelForImageTextToText._model_mapping:
                raise CaptionerError(
                    "A teacher must read pictures and write text (transformers' AutoModelForImageTextToText), but "
                    f"{called} is a {config.model_type}; name a vision-language model."
                )
            processor: Any = AutoProcessor.from_pretrained(name, **safely)  # type: ignore[no-untyped-call]
            if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
                raise CaptionerError(
                    f"A teacher must come with what prepares its pictures, but {called} has no image processor; "
                    "download the whole model again, or name another."
                )
            model: Any = AutoModelForImageTextToText.from_pretrained(name, dtype="auto", use_safetensors=True, **safely)
            model.to(place).eval()
        return cls(model, processor, name=called, revision=getattr(config, "_commit_hash", None))

    def prompt(self, asking: Asking) -> str | None:
        """What the model is told beside the picture."""
        return PROMPT if asking.prompt is None and self._chats else asking.prompt

    def rehearse(self, asking: Asking) -> None:
        """Describe a grey picture, so that what is wrong with the model is told before any work.

        Raises CaptionerError.
        """
        try:
            self.answers([Image.new("RGB", (256, 192), "grey")], [0], asking, most_tokens=2)
        except Exception as error:  # every model fails in its own way
            if tells_of_memory(error):
                raise self.out_of_memory() from error
            hint = (
                "choose another model"
                if self._chats
                else "it has no chat template, so give --prompt in its own form, with its mark for the picture such as "
                "<image>, or choose a model that has one"
            )
            raise CaptionerError(
                f"The teacher must be able to describe a picture, but {self.name} failed at a plain one "
                f"({_words_of(error)}); {hint}."
            ) from error

    def out_of_memory(self) -> CaptionerError:
        """The sentence for a memory that one picture does not fit into."""
        return CaptionerError(
            f"The memory must hold {self.name} and one picture with its captions, but it does not; ask for fewer "
            "--captions, choose a smaller model, or another --device."
        )

    @torch.inference_mode()
    def answers(
        self, pictures: Sequence[Image.Image], keys: Sequence[int], asking: Asking, *, most_tokens: int | None = None
    ) -> list[list[str]]:
        """`asking.captions` answers for each picture as the model gave them, chat and all.

        Words are drawn at random; the random numbers of a picture come from the seed and its key alone, so that
        neither the order of pictures nor which of them share a batch changes them. In a batch of several, rounding may
        still differ in the last digit, and one word in very many with it. Raises whatever the model raises.
        """
        most = most_tokens or _TOKENS_A_WORD * asking.max_words
        inputs = self._inputs(pictures, self.prompt(asking)).to(self._model.device, dtype=self._model.dtype)
        said = self._model.generate(
            **inputs,
            do_sample=True,
            num_beams=1,
            num_return_sequences=asking.captions,
            max_new_tokens=most,
            # The model's own habits of sampling are put aside: _Drawn leaves one word to choose from.
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            logits_processor=LogitsProcessorList([_Drawn(keys, asking, most, self._model.device)]),
        )
        texts = self._processor.batch_decode(self._new(said, inputs, asking.captions), skip_special_tokens=True)
        return [texts[first : first + asking.captions] for first in range(0, len(texts), asking.captions)]

    @property
    def _chats(self) -> bool:
        return getattr(self._processor, "chat_template", None) is not None

    def _inputs(self, pictures: Sequence[Image.Image], prompt: str | None) -> Any:
        padded = {"padding": True, "return_tensors": "pt"}
        if not self._chats:
            text = {} if prompt is None else {"text": [prompt] * len(pictures)}
            return self._processor(images=list(pictures), **text, **padded)
        talks = [
            [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]}]
            for picture in pictures
        ]
        return self._processor.apply_chat_template(
            talks, add_generation_prompt=True, tokenize=True, return_dict=True, processor_kwargs=padded
        )

    def _new(self, said: Tensor, inputs: Any, captions: int) -> Tensor:
        """The ids (rows, time) without those of the prompt, which some models repeat and some do not."""
        if "input_ids" not in inputs:
            return said
        prompt = inputs["input_ids"].repeat_interleave(captions, dim=0)
        length = prompt.shape[1]
        repeats = said.shape[1] >= length and bool((said[:, :length] == prompt).all())
        return said[:, length:] if repeats and not self._model.config.is_encoder_decoder else said


class _Drawn(LogitsProcessor):
    """Leaves one word of each row, drawn as `captioner.search.sampling` draws: with numbers that belong to its picture.

    transformers draws the words of all rows with one stream of random numbers.
    """

    def __init__(self, keys: Sequence[int], asking: Asking, most: int, device: torch.device) -> None:
        self._asking = asking
        # Words are drawn in float64, which Apple's graphics processors do not know.
        self._dice = torch.device("cpu") if device.type == "mps" else device
        luck = random_numbers(asking.seed, keys, asking.captions, most)
        self._luck = luck.flatten(0, 1).to(self._dice)  # (rows, time), a picture's captions together
        self._time = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores (rows, vocabulary) -> 0 for the word that is drawn, -inf for all others."""
        asking = self._asking
        logits = scores.float().to(self._dice)
        chances = reshaped(logits, temperature=asking.temperature, top_k=None, top_p=asking.top_p)
        words = draw(chances.unsqueeze(1), self._luck[:, self._time : self._time + 1])
        self._time += 1
        return torch.full_like(scores, -torch.inf).scatter(1, words.to(scores.device), 0.0)


@contextlib.contextmanager
def _told_of(called: str) -> Iterator[None]:
    """Whatever goes wrong with loading a teacher becomes a sentence."""
    try:
        yield
    except CaptionerError:
        raise
    except Exception as error:
        if tells_of_memory(error):
            raise CaptionerError(
                f"The memory must hold the teacher, but {called} does not fit; choose a smaller model or another "
                "--device."
            ) from error
        if isinstance(error, OSError):  # no folder, no network, no such name, not the right to read it
            raise CaptionerError(
                "A teacher must be a whole model, with safetensors, in a folder or on the Hugging Face hub, but none "
                f"could be had as {called} ({_words_of(error)}); check the name, the network and `hf auth login`."
            ) from error
        raise CaptionerError(
            f"A teacher must be a model that transformers {__version__} loads without running its repository's code, "
            f"but {called} is not ({_words_of(error)}); name another."
        ) from error


def _words_of(error: Exception) -> str:
    """An error's first line, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")
