"""Words: what is split, what is kept, what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import captioner.pretrained
from captioner.errors import CheckpointError, DataError
from captioner.text.vocabulary import END, PADDING, START, UNKNOWN, Vocabulary, detokenise, is_spaceless, normalise


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man 's hand .", "a man 's hand"),
        ("The dog's T-shirt, isn't it?", "the dog 's t-shirt is n't it"),
        ("Two girls' bikes at 5 o’clock!", "two girls bikes at 5 o'clock"),
        ('A sign : " 3.5 km "', "a sign 3.5 km"),
        ("Кошка сидит на траве.", "кошка сидит на траве"),
        ("Una niña, en el jardín", "una niña en el jardín"),
        ("एक कुत्ता दौड़ रहा है", "एक कुत्ता दौड़ रहा है"),
        ("ﬁsh and ＣＨＩＰＳ", "fish and chips"),
        ("Straße", "straße"),
        ("Ein MÄDCHEN läuft über die Brücke.", "ein mädchen läuft über die brücke"),
        ("Zucker\u00adguss", "zuckerguss"),
        ("Ένας σκύλος τρέχει, ΣΚΎΛΟΣ", "ένας σκύλος τρέχει σκύλος"),
        ("كلب يركض في الحديقة.", "كلب يركض في الحديقة"),
        ("كَلْبٌ", "كَلْبٌ"),
        ("سگ می\u200cدود", "سگ می\u200cدود"),
        ("Üç köpek", "üç köpek"),
        ("... -- !", ""),
    ],
)
def test_normalise_splits_into_words_of_any_script(caption: str, words: str) -> None:
    assert normalise(caption) == words.split()


@pytest.mark.parametrize(
    ("caption", "units", "sentence"),
    [
        ("一只狗在草地上奔跑。", "一 只 狗 在 草 地 上 奔 跑", "一只狗在草地上奔跑。"),
        ("コーヒーを飲む人々", "コ ー ヒ ー を 飲 む 人 々", "コーヒーを飲む人々。"),
        ("ｺｰﾋｰ", "コ ー ヒ ー", "コーヒー。"),
        ("穿 T恤 的 2 个人", "穿 t 恤 的 2 个 人", "穿t恤的2个人。"),
        ("สุนัขกินน้ำ", "สุ นั ข กิ น น้ ำ", "สุนัขกินน้ำ"),
        ("ຫມານ້ຳ", "ຫ ມ າ ນ້ ຳ", "ຫມານ້ຳ"),
        ("ឆ្កែ", "ឆ្ កែ", "ឆ្កែ។"),
        ("The dog's t-shirt isn't 狗的", "the dog 's t-shirt is n't 狗 的", "The dog's t-shirt isn't狗的。"),
        ("A red dog", "a red dog", "A red dog."),
        ("，。！", "", ""),
    ],
)
def test_scripts_without_spaces_are_split_into_letters_and_joined_again(
    caption: str, units: str, sentence: str
) -> None:
    assert normalise(caption, "characters") == units.split()
    assert detokenise(units.split(), "characters") == sentence


_SCRIPTS = st.sampled_from("狗跑カーナ々กินน้ำ네개dogs2é क्षคร ёж'- .,\u200d\u0e33")


@given(st.text(_SCRIPTS | st.characters()))
@example("ß")
def test_what_is_split_into_letters_is_the_same_after_joining(caption: str) -> None:
    once = normalise(caption, "characters")
    again = normalise(detokenise(once, "characters"), "characters")
    # A word that begins with a mark of its own clings to the letter before it; no language writes that.
    if all(word[0].isalnum() for word in once):
        assert again == once


@pytest.mark.parametrize(
    ("caption", "spaceless"),
    [
        ("一只狗", True),
        ("犬がRunningする道", False),
        ("สุนัข 2 ตัว", True),
        ("a dog", False),
        ("개가 달린다", False),
        ("", False),
    ],
)
def test_a_caption_mostly_in_letters_without_spaces_is_known(caption: str, spaceless: bool) -> None:
    assert is_spaceless(caption) is spaceless


def test_a_vocabulary_of_letters_stays_one_on_the_way_to_disk_and_back() -> None:
    vocabulary = Vocabulary.fit(["一只狗", "一只猫"], min_count=2, units="characters")
    assert list(vocabulary.counts) == ["一", "只"]
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.units == "characters"
    assert again.fingerprint() == vocabulary.fingerprint()
    assert again.decode(again.encode("只一狗")) == ["只", "一"]
    of_words = Vocabulary(list(vocabulary.counts.items()))
    assert of_words.fingerprint() != vocabulary.fingerprint()
    assert of_words.encode("一只") == [UNKNOWN]


def test_the_shipped_vocabulary_is_read_and_written_as_it_was_before_there_were_units() -> None:
    stored = (Path(captioner.pretrained.__file__).parent / "vocabulary.json").read_text(encoding="utf-8")
    vocabulary = Vocabulary.from_json(stored)
    assert vocabulary.units == "words"
    assert vocabulary.to_json() == stored
    assert "units" not in stored


def test_units_that_a_newer_program_knows_are_refused() -> None:
    with pytest.raises(CheckpointError, match="units must be words or characters, but this one's are 'syllables'"):
        Vocabulary.from_json('{"units": "syllables", "words": [["a", 1]]}')


def test_detokenise_gives_back_a_proper_sentence() -> None:
    assert detokenise(["a", "man", "'s", "dog", "does", "n't", "run"]) == "A man's dog doesn't run."
    assert detokenise(["élan"]) == "Élan."
    assert detokenise(["ßtraße"]) == "ßtraße."
    assert detokenise([]) == ""


def test_what_normalise_splits_detokenise_joins_again() -> None:
    sentence = "The dog's t-shirt isn't in the o'clock box."
    assert detokenise(normalise(sentence)) == sentence


@given(st.text(st.sampled_from("abnt'’-. sdlvemß\u0301"), max_size=16) | st.text(max_size=8))
def test_words_are_split_as_far_as_they_can_be_so_that_a_rule_about_one_means_it(caption: str) -> None:
    words = normalise(caption)
    assert normalise(" ".join(words)) == words
    assert normalise("She couldn't've seen it") == ["she", "could", "n't", "'ve", "seen", "it"]


def test_only_words_that_occur_often_enough_are_kept_commonest_first() -> None:
    vocabulary = Vocabulary.fit(["a dog", "a cat", "A dog runs", "zebra dog cat"], min_count=2)
    assert list(vocabulary.counts.items()) == [("a", 3), ("dog", 3), ("cat", 2)]
    assert "runs" not in vocabulary
    assert len(vocabulary) == 4 + 3


def test_unknown_words_become_the_unknown_token_and_never_come_back() -> None:
    vocabulary = Vocabulary.fit(["a dog", "a dog"], min_count=2)
    ids = vocabulary.encode("A purple dog")
    assert ids[1] == UNKNOWN
    assert vocabulary.decode([START, *ids, END, ids[0], PADDING]) == ["a", "dog"]


def test_a_vocabulary_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="none of 2 does"):
        Vocabulary.fit(["a dog"], min_count=2)


def test_json_gives_back_the_same_ids() -> None:
    vocabulary = Vocabulary.fit(["niña кошка dog", "dog"], min_count=1)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.words == vocabulary.words
    assert again.fingerprint() == vocabulary.fingerprint()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"words": [["a"]]}', '{"words": [["a", 1], ["a", 2]]}', '{"words": [["<end>", 1]]}']
)
def test_json_that_is_no_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        Vocabulary.from_json(text)
