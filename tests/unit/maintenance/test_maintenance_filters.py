"""The grammar of `where_and`, `where_or` and `where_in` (document 002)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInputError
from include.maintenance.filters import Condition, Filter, like_pattern, read_filter

FIELDS = {"name": "text", "num": "number", "at": "moment", "members": "list"}
SHANGHAI = ZoneInfo("Asia/Shanghai")


def read(where_and=None, where_or=None, where_in=None) -> Filter:
    return read_filter(where_and, where_or, where_in, FIELDS, SHANGHAI)


def one(*triple) -> Condition:
    [condition] = read([list(triple)]).every
    return condition


def refusal(where_and=None, where_or=None, where_in=None) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read(where_and, where_or, where_in)
    return str(caught.value)


@pytest.mark.parametrize("nothing", [None, "", "  ", "[]", []])
def test_nothing_is_asked_for(nothing):
    assert read(nothing, nothing, nothing) == Filter((), ())


def test_an_array_and_its_json_text_are_the_same():
    triples = [["name", "like", "%test%"], ["num", ">", "20"]]
    assert read(triples, triples) == read(json.dumps(triples), json.dumps(triples, ensure_ascii=False))


def test_every_and_in_are_both_needed_and_or_stands_beside():
    found = read([["num", "=", 1]], [["num", "=", 2], ["num", "=", 3]], [["num", [4, 5]]])
    assert [condition.values for condition in found.every] == [(Decimal(1),), (Decimal(4), Decimal(5))]
    assert [condition.values for condition in found.any] == [(Decimal(2),), (Decimal(3),)]


@pytest.mark.parametrize(
    ("written", "operator", "negated"),
    [
        ("=", "=", False),
        ("==", "=", False),
        ("!=", "=", True),
        ("<>", "=", True),
        (">", ">", False),
        (">=", ">=", False),
        ("<", "<", False),
        ("<=", "<=", False),
        ("like", "like", False),
        ("LIKE", "like", False),
        (" Not   Like ", "like", True),
    ],
)
def test_operators_of_one_value(written, operator, negated):
    assert one("name", written, "a") == Condition("name", operator, negated, ("a",))


@pytest.mark.parametrize(
    ("written", "operator", "negated"),
    [
        ("in", "in", False),
        ("not in", "in", True),
        ("between", "between", False),
        ("NOT BETWEEN", "between", True),
    ],
)
def test_operators_of_several_values(written, operator, negated):
    assert one("num", written, [2, "1"]) == Condition("num", operator, negated, (Decimal(2), Decimal(1)))


@pytest.mark.parametrize("rest", [(), ("",), (None,)])
def test_is_null_needs_no_value(rest):
    assert one("name", "is null", *rest) == Condition("name", "empty", False, ())
    assert one("name", "IS NOT NULL", *rest) == Condition("name", "empty", True, ())


def test_where_in_has_two_forms():
    assert read(None, None, [["name", ["a", "b"]], ["num", "in", [1]], ["num", "not in", [2]]]).every == (
        Condition("name", "in", False, ("a", "b")),
        Condition("num", "in", False, (Decimal(1),)),
        Condition("num", "in", True, (Decimal(2),)),
    )
    assert read(None, None, [["name", []]]).every == (Condition("name", "in", False, ()),)


@pytest.mark.parametrize(
    ("value", "operator", "meant"),
    [
        ("%test%", "like", "%test%"),
        ("test%", "like", "test%"),
        ("%test", "like", "%test"),
        ("te%st", "=", "te%st"),
        (r"\%test\%", "=", "%test%"),
        (r"\%test%", "like", r"\%test%"),
        ("%", "like", "%"),
    ],
)
def test_equal_to_a_pattern_is_like(value, operator, meant):
    assert one("name", "=", value) == Condition("name", operator, False, (meant,))
    assert one("name", "!=", value) == Condition("name", operator, True, (meant,))


@pytest.mark.parametrize("value", ["", None])
def test_equal_to_nothing_is_empty(value):
    assert one("name", "=", value) == Condition("name", "empty", False, ())
    assert one("members", "!=", value) == Condition("members", "empty", True, ())


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        ("%a%", "%a%"),
        ("a_b", r"a\_b"),
        (r"50\%", r"50\%"),
        (r"a\_b", r"a\_b"),
        (r"a\\b", r"a\\b"),
        (r"C:\new", r"C:\\new"),
        ("end\\", "end\\\\"),
        ("%%", "%%"),
    ],
)
def test_patterns_in_postgres_spelling(written, pattern):
    assert like_pattern(written) == pattern


@given(st.text(alphabet="%_\\ab", max_size=8))
def test_a_pattern_never_ends_in_half_an_escape(text):
    pattern = like_pattern(text)
    assert (len(pattern) - len(pattern.rstrip("\\"))) % 2 == 0


@pytest.mark.parametrize(
    ("value", "number"), [(20, "20"), ("20", "20"), (" -1.5 ", "-1.5"), (0.1, "0.1"), (True, "1")]
)
def test_numbers_are_read_from_texts_too(value, number):
    assert one("num", ">", value).values == (Decimal(number),)


def test_texts_are_read_from_numbers_too():
    assert one("name", "=", 25).values == ("25",)
    assert one("members", "=", 1).values == ("1",)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-11 12:35:10", datetime(2024, 5, 11, 4, 35, 10, tzinfo=UTC)),
        ("2024-05-11T12:35:10", datetime(2024, 5, 11, 4, 35, 10, tzinfo=UTC)),
        ("2024-05-11", datetime(2024, 5, 10, 16, tzinfo=UTC)),
    ],
)
def test_moments_are_by_the_clocks_of_the_zone(text, moment):
    assert one("at", ">", text).values == (moment,)


NO_SUCH_FIELD = "there is no such field, but name, num, at, members"
NO_SUCH_OPERATOR = (
    "there is no such operator, but =, ==, !=, <>, >, >=, <, <=, like, not like, in, not in, between,"
    " not between, is null, is not null"
)
FORM = "must be [field, operator, value]"


@pytest.mark.parametrize(
    ("triple", "problem"),
    [
        (["age", "=", "1"], NO_SUCH_FIELD),
        (["name; DROP TABLE x", "=", "1"], NO_SUCH_FIELD),
        (["NAME", "=", "1"], NO_SUCH_FIELD),
        (["name|num", "=", "1"], NO_SUCH_FIELD),
        (["name", "exp", "1"], NO_SUCH_OPERATOR),
        (["name", "= ANY", "1"], NO_SUCH_OPERATOR),
        (["name", "", "1"], NO_SUCH_OPERATOR),
        (["num", "like", "%1%"], "num cannot be asked for so"),
        (["members", ">", "1"], "members cannot be asked for so"),
        (["name"], FORM),
        (["name", "="], FORM),
        (["name", "=", "a", "b"], FORM),
        ([1, "=", "a"], FORM),
        (["name", 1, "a"], FORM),
        ([["name", "=", "a"]], FORM),
        ({"name": "a"}, FORM),
        ("name", FORM),
        (None, FORM),
        (["name", "=", ["a"]], "takes one value"),
        (["name", "=", {"a": 1}], "takes one value"),
        (["name", "in", "a"], "takes a list of values"),
        (["name", "in", [["a"]]], "takes texts"),
        (["num", "between", [1]], "takes two values"),
        (["num", "between", [1, 2, 3]], "takes two values"),
        (["name", "is null", "x"], "takes no value"),
        (["name", "=", True], "takes texts"),
        (["name", "=", "a\0b"], "a value must not contain NUL characters"),
        (["name", "=", "a" * 257], "a value must have at most 256 characters"),
        (["num", "=", "1 OR 1=1"], "takes numbers"),
        (["num", "=", "1e9"], "takes numbers"),
        (["num", "=", "NaN"], "takes numbers"),
        (["num", "=", "٣"], "takes numbers"),
        (["num", "=", 1e300], "takes numbers"),
        (["num", "=", "9" * 21], "takes numbers"),
        (["num", "=", None], "takes numbers"),
        (["at", "=", "yesterday"], "takes moments, YYYY-MM-DD HH:MM:SS"),
        (["at", "=", "2024-13-01"], "takes moments, YYYY-MM-DD HH:MM:SS"),
        (["at", "=", "0001-01-01"], "takes moments, YYYY-MM-DD HH:MM:SS"),
        (["at", "=", "9999-12-31 23:59:59"], "takes moments, YYYY-MM-DD HH:MM:SS"),
        (["at", "=", 1], "takes moments, YYYY-MM-DD HH:MM:SS"),
    ],
)
def test_what_is_refused_is_named(triple, problem):
    shown = json.dumps(triple, ensure_ascii=False, separators=(",", ":"))
    told = refusal([["name", "=", "fine"], triple])
    assert told.startswith("where_and.1: ")
    assert told.endswith(problem)
    if len(shown) < 200 and "1e" not in shown and "\\u" not in shown:
        assert told == f"where_and.1: {shown}: {problem}"


def test_a_long_triple_is_shown_in_part():
    assert len(refusal([["name", "=", "a" * 5000]])) < 300


@pytest.mark.parametrize("name", ["where_and", "where_or", "where_in"])
def test_the_list_is_named(name):
    assert refusal(**{name: [["age", ["x"]] if name == "where_in" else ["age", "=", "x"]]}).startswith(name)


@pytest.mark.parametrize(
    "triple",
    [["name", "=", "a"], ["name", "=", ["a"]], ["name", "a"], [["name", ["a"]]], ["name", "like", ["a"]]],
)
def test_where_in_takes_only_members(triple):
    assert refusal(None, None, [triple]).endswith("must be [field, [values]]")


@pytest.mark.parametrize(
    "raw", ["[", "name = 1", "[['name','=','a']]", '[["name","=","a"],]', "[" * 5000, '"\ud800"', "[NaN]"]
)
def test_what_is_not_json(raw):
    assert refusal(raw) == "where_and: is not JSON"


@pytest.mark.parametrize("raw", [{"name": "a"}, '{"name": "a"}', '"name"', "1", 0, False, True, "null"])
def test_what_is_not_a_list(raw):
    assert refusal(raw) == "where_and: must be a list of [field, operator, value]"


def test_the_most_of_everything():
    triple = ["name", "=", "a"]
    assert len(read([triple] * 20).every) == 20
    assert refusal([triple] * 21) == "where_and: must have at most 20 conditions"
    assert len(read(None, None, [["num", list(range(200))]]).every[0].values) == 200
    assert refusal(None, None, [["num", list(range(201))]]) == "where_in: must have at most 200 values"
    assert (
        refusal([["num", "in", [1] * 150], ["num", "in", [1] * 51]])
        == "where_and: must have at most 200 values"
    )


@pytest.mark.parametrize("native", [True, False])
def test_17_kilobytes(native):
    triples = [["name", "in", ["é" * 100] * 90]]
    raw = triples if native else json.dumps(triples, ensure_ascii=False)
    assert refusal(raw) == "where_and: must have at most 16384 bytes"


def test_half_of_a_surrogate_pair():
    assert refusal([["name", "=", "\ud800"]]) == "where_and: is not JSON"


def test_a_filter_knows_what_it_asks_for():
    assert read([["name", "=", "a"]], [["num", "=", 1]]).names("num")
    assert not read([["name", "=", "a"]]).names("num")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(), max_size=6)
    | st.sampled_from(
        ["name", "num", "at", "members", "=", "like", "in", "between", "is null", "2024-05-11", "%"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)
TRIPLE = st.tuples(
    st.sampled_from([*FIELDS, "age"]),
    st.sampled_from(["=", "!=", "like", "in", "between", "<", "is null"]),
    JSON,
).map(list)


def outcome(*lists) -> Filter | str:
    try:
        return read(*lists)
    except InvalidInputError as error:
        return str(error)


@given(JSON | st.lists(TRIPLE, max_size=3), JSON | st.lists(TRIPLE, max_size=3), JSON)
def test_whatever_is_sent_is_read_or_refused(where_and, where_or, where_in):
    found = outcome(where_and, where_or, where_in)
    if isinstance(found, str):
        assert found.startswith(("where_and", "where_or", "where_in"))
        return
    python_types = {"text": str, "list": str, "number": Decimal, "moment": datetime}
    for condition in (*found.every, *found.any):
        assert all(isinstance(value, python_types[FIELDS[condition.field]]) for value in condition.values)
