import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emgmodels import charset

labels = st.integers(0, charset.BLANK - 1)


def test_label_order_is_that_of_emg2qwerty():
    printable = string.ascii_letters + string.digits + string.punctuation
    assert "".join(charset.CLASSES) == printable + "\u232b\u23ce \u21e7"
    assert (len(charset.CLASSES), charset.BLANK, charset.NUM_CLASSES) == (98, 98, 99)


@given(st.lists(labels))
def test_text_of_labels_reads_back(sequence):
    assert charset.encode(charset.decode(sequence)) == sequence


@given(labels)
def test_key_of_a_label_reads_back(label):
    assert charset.label_of(charset.key_of(label)) == label
    assert charset.label_of(charset.CLASSES[label]) == label


@given(st.text())
def test_any_text_encodes_character_by_character(text):
    encoded = charset.encode(text)
    assert encoded == [label for c in text if (label := charset.label_of(c)) is not None]
    assert charset.encode(charset.decode(encoded)) == encoded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“don’t” ‘go’", "\"don't\" 'go'"),
        ("a–b—c", "a-b-c"),
        ("Été ñ Ång Łø", "Ete n Ang Lo"),
        ("E\u0301te", "Ete"),
        ("a\nb\rc\b", "a⏎b⏎c⌫"),
        ("a\u00a0b", "a b"),
        ("x²", "x2"),
        ("a…ß≠\tb⌘中™©", "ab"),
        ("¡¿÷×·¨¬µƒ", '!?/x*"!uf'),
        ("−∕∗ ⁄", "-/* /"),
        ("Привет, мир", "Privet, mir"),
        ("αβγ ﬁ", "abg "),
        ("𝐀ᴬ①", "AA1"),
        ("⇥⌃⌘↑⇡", ""),
        ("\u2028\u2029\u0301", ""),
    ],
)
def test_normalisation(text, expected):
    assert charset.decode(charset.encode(text)) == expected


def test_a_macs_option_key_types_what_the_data_set_makes_of_it():
    """Measured with Unidecode 1.4.0; a bar stands for a character that is left out."""
    typed = "å∫ç∂´ƒ©˙ˆ∆˚¬µ˜øπœ®ß†¨√∑≈¥Ω¡™£¢∞§¶•ªº–≠“‘«…æ≤≥÷ÅıÇ˝ˇ◊˛¸⁄€‹›ﬁ‡°·‚—±”’»Æ¯˘¿"
    gives = 'a|c|\'f|.^|@!u~op|||+"||||O!|||||P*ao-|"\'|||||/AiC"V*,,/|<>|||*,-|"\'||-V?'
    assert "".join(charset.decode(charset.encode(key)) or "|" for key in typed) == gives


@pytest.mark.parametrize(
    ("key", "symbol"),
    [
        ("a", "a"),
        ("Key.space", " "),
        ("Key.enter", "⏎"),
        ("Key.backspace", "⌫"),
        ("Key.shift", "⇧"),
        ("\r", "⏎"),
        ("é", "e"),
        ("’", "'"),
    ],
)
def test_keys_inside_the_set(key, symbol):
    assert charset.label_of(key) == charset.CLASSES.index(symbol)


@pytest.mark.parametrize(
    "key", ["Key.shift_l", "Key.shift_r", "Key.tab", "Key.cmd", "\t", "ab", "", "…"]
)
def test_keys_outside_the_set(key):
    assert charset.label_of(key) is None


@pytest.mark.parametrize("label", [-1, charset.BLANK])
def test_the_blank_and_strangers_have_no_text(label):
    with pytest.raises(ValueError, match=f"label {label} is no key: keys are 0 to 97"):
        charset.decode([0, label])
    with pytest.raises(ValueError, match=f"label {label} is no key"):
        charset.key_of(label)
