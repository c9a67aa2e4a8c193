"""What would have to change before a caption could serve as alt text.

A caption says what a captioner saw; alt text says what a picture is for where it stands, which only the author of
the page knows. So nothing here calls a caption alt text: it is looked over, by rules of form.
"""

from __future__ import annotations

import regex

LONGEST = 125
"""Letters and spaces; some screen readers cut alt text off or read it in parts beyond about so many."""

_SAYS_WHAT_IT_IS = regex.compile(
    r"^\W*(?:this is |there is |it is )?(?:an? |the )?(?:[\p{L}-]+ )?"
    r"(image|picture|photo|photograph|pic|graphic|screenshot) (?:of|showing)\b",
    regex.IGNORECASE,
)
_FILE_NAME = regex.compile(r"\b[\w-]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif)\b", regex.IGNORECASE)


def lint_alt_text(caption: str) -> list[str]:
    """One sentence for each thing that speaks against `caption` as alt text; none when its form is sound."""
    text = caption.strip()
    if not any(letter.isalnum() for letter in text):
        return ["It is empty: say what the picture shows, or mark the picture as decoration."]
    findings = []
    if len(text) > LONGEST:
        findings.append(f"It has {len(text)} characters: keep to {LONGEST}, and tell the rest in the text beside it.")
    if says := _SAYS_WHAT_IT_IS.search(text):
        findings.append(f'It says "{says[1].lower()} of": leave that out, a screen reader says that it is a picture.')
    if name := _FILE_NAME.search(text):
        findings.append(f"It names a file, {name[0]}: say what the picture shows.")
    if not _ends(text):
        findings.append("It does not end with a full stop: a screen reader would run on into what follows.")
    return findings


def mend_alt_text(caption: str) -> str:
    """`caption` with what its form alone can mend: without "a picture of" in front, with a capital and a full stop."""
    text = caption.strip()
    while (says := _SAYS_WHAT_IT_IS.search(text)) and (rest := text[says.end() :].lstrip()).strip("."):
        text = f"{rest[0].upper()}{rest[1:]}"
    return text if not text or _ends(text) else f"{text}."


def _ends(text: str) -> bool:
    return text.rstrip("\"'”’)").endswith((".", "!", "?", "…", "。"))
