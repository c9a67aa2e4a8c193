"""What a language model answers when it is asked for a caption, without what is chat and no caption."""

from __future__ import annotations

import re

from captioner.text.vocabulary import normalise

# What a model thinks aloud; one that was cut off while it thought has said nothing.
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~)\S*\s*$", re.MULTILINE)
# Numbers and bullets of lists, marks of headings and quotations, at the beginning of a line.
_LIST_MARK = re.compile(r"^\s*(?:[-*•>]\s+|#+\s+|\(?\d{1,2}[.)]\s+)+")
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "„": "“", "「": "」"}

_ROLE = re.compile(
    r"^(?:assistant|answer|response|(?:(?:image|photo) )?(?:caption|description))\s*(?::\s*|$)", re.IGNORECASE
)
# "Sure! Here is a caption for the image:", alone on its line or before the caption.
_OPENING = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok)(?: thing)?[.!,:]\s*)?"
    r"(?:here(?:['’]s| is| are)\b[^.!:]{0,60}\b(?:caption|description|sentence)s?\b[^.!:]{0,60}:\s*)?",
    re.IGNORECASE,
)
# "The image shows a dog" says no more than "a dog".
_FRAME = re.compile(
    r"^(?:in (?:the|this) (?:image|picture|photo|photograph),?\s+(?:there (?:is|are)\s+|we (?:can )?see\s+)?|"
    r"(?:the|this) (?:image|picture|photo|photograph) (?:shows|depicts|features|captures|displays|presents|is of)\s+)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^(?:i(?:'|’)?m sorry|sorry|i apologi[sz]e|i can(?:'|’|no)t|i can not|i am (?:unable|not able)|"
    r"i(?:'|’)m (?:unable|not able)|as an ai|unfortunately,? i)\b",
    re.IGNORECASE,
)
# Up to a full stop that is followed by a space, and by no small letter: `St. Bernard` may be cut, `a 2.5 m wall` not.
_SENTENCE = re.compile(r".+?(?:[.!?]+[\"'”’)]*(?=\s+[^a-z\s]|\s*\Z)|[。！？]+|\Z)\s*", re.DOTALL)


def caption_in(answer: str) -> str:
    """The caption of one answer, on one line; empty where there is none, such as in a refusal.

    Of several lines the first that says something is taken: `Sure!`, `1. **A dog runs.**`, `2. ...` is `A dog runs.`
    """
    text = _FENCE.sub("", _THOUGHT.sub("", answer))
    return next(filter(None, map(_said, text.splitlines())), "")


def whole_sentences(caption: str, *, max_words: int) -> str:
    """As many sentences of a caption, from its first, as have so many words together; empty where the first has more.

    Letters count where a script writes no spaces.
    """
    fitting = ""
    for sentence in _SENTENCE.findall(caption):
        if len(normalise(fitting + sentence, "characters")) > max_words:
            break
        fitting += sentence
    return fitting.strip()


def _said(line: str) -> str:
    """A line without what stands around a caption; empty where nothing else is in it."""
    text = _EMPHASIS.sub(r"\2", _LIST_MARK.sub("", " ".join(line.split())))
    text = _unquoted(_ROLE.sub("", _OPENING.sub("", text)))
    if _REFUSAL.match(text):
        return ""
    bare = _FRAME.sub("", text)
    return bare[:1].upper() + bare[1:] if bare != text else text


def _unquoted(text: str) -> str:
    text = text.strip()
    closing = _QUOTES.get(text[:1])
    inside = text[1:-1]
    return inside.strip() if closing and len(text) > 2 and text[-1] == closing and closing not in inside else text
