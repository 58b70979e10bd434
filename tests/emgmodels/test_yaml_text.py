import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from emgmodels.config import YamlError, read_yaml, write_yaml, write_yaml_line

odd = st.text("0123456789eE+-._:~ \n\tnultrasofyx<=#[]{},'\"&*!|>%@`?", max_size=9)
texts = odd | st.text(st.characters(), max_size=12)
scalars = texts | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(values)
def test_what_is_written_reads_back_equal(value):
    for write in (write_yaml, write_yaml_line):
        assert repr(read_yaml(write(value), "here")) == repr(value)


@pytest.mark.parametrize("name", ["1e5", "83e6021", "0123", "no", "12:30:00", "~", "null", ".5"])
def test_a_name_that_looks_like_something_else_stays_a_name(name):
    assert read_yaml(write_yaml({"name": name, "x": name}), "here") == {"name": name, "x": name}
    assert read_yaml(f"user: {name}", "here", as_text=True) == {"user": name}


def test_merge_keys_are_defaults_and_cannot_fill_the_memory():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}"
    assert read_yaml(text, "here")["b"] == {"x": 1, "y": 3}
    doubled = "\n".join(f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}" for i in range(60))
    assert read_yaml(f"a0: &a0 {{x: 1}}\n{doubled}", "here")["a60"] == {"x": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "here: line 2: the key 'a' stands there twice"),
        ("a: [", "here: line 1: is not YAML"),
        ("a: &a [*a]", "contains itself"),
        ("!!set {a}", "could not determine a constructor"),
        ("<<: 3", "<< takes a mapping"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, message):
    with pytest.raises(YamlError) as caught:
        read_yaml(text, "here")
    assert message in str(caught.value)
