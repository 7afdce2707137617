"""A call is written in one form, and read from every form that models write it in."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from machines import parse
from machines.tools import obsidian
from tests.support.process import growth


def block(*lines: str) -> str:
    """A canonical block of these lines, the name's first."""
    return "\n".join(["<use_tool>", *(f"  {line}" for line in lines), "</use_tool>"])


GOLDEN = {
    "localSearch": (
        '{"timeRange":{"from": 1, "to": 2}, "salientTerms":["May", "plan"], "query":"May"}',
        block(
            "<name>localSearch</name>",
            "<query>May</query>",
            "<salientTerms>[&quot;May&quot;,&quot;plan&quot;]</salientTerms>",
            "<timeRange>{&quot;from&quot;:1,&quot;to&quot;:2}</timeRange>",
        ),
    ),
    "webSearch": (
        '{"chatHistory":[],"query":"AT&T\'s <price> \\"today\\""}',
        block(
            "<name>webSearch</name>",
            "<query>AT&amp;T&apos;s &lt;price&gt; &quot;today&quot;</query>",
            "<chatHistory>[]</chatHistory>",
        ),
    ),
    "getCurrentTime": (
        '{"timezoneOffset":"+8"}',
        block("<name>getCurrentTime</name>", "<timezoneOffset>+8</timezoneOffset>"),
    ),
    "convertTimeBetweenTimezones": (
        '{"toOffset":"-5","fromOffset":"+9","time":"6pm"}',
        block(
            "<name>convertTimeBetweenTimezones</name>",
            "<time>6pm</time>",
            "<fromOffset>+9</fromOffset>",
            "<toOffset>-5</toOffset>",
        ),
    ),
    "getTimeRangeMs": (
        '{"timeExpression":"先週"}',
        block("<name>getTimeRangeMs</name>", "<timeExpression>先週</timeExpression>"),
    ),
    "getTimeInfoByEpoch": (
        '{"epoch":1700000000000}',
        block("<name>getTimeInfoByEpoch</name>", "<epoch>1700000000000</epoch>"),
    ),
    "readNote": (
        '{"chunkIndex":0,"notePath":"Notes/Ideas 💡.md"}',
        block(
            "<name>readNote</name>",
            "<notePath>Notes/Ideas 💡.md</notePath>",
            "<chunkIndex>0</chunkIndex>",
        ),
    ),
    "getFileTree": ("{}", block("<name>getFileTree</name>")),
    "getTagList": (
        '{"maxEntries":50,"includeInline":true}',
        block(
            "<name>getTagList</name>",
            "<includeInline>true</includeInline>",
            "<maxEntries>50</maxEntries>",
        ),
    ),
    "writeToFile": (
        '{"content":"\\n# Title\\n\\n  - a\\n","path":"a.md"}',
        block(
            "<name>writeToFile</name>",
            "<path>a.md</path>",
            "<content>\n# Title\n\n  - a\n</content>",
        ),
    ),
    "replaceInFile": (
        '{"diff":"------- SEARCH\\na\\n=======\\nb\\n+++++++ REPLACE","path":"a.md"}',
        block(
            "<name>replaceInFile</name>",
            "<path>a.md</path>",
            "<diff>------- SEARCH\na\n=======\nb\n+++++++ REPLACE</diff>",
        ),
    ),
    "updateMemory": (
        '{"statement":"I\'m left-handed"}',
        block("<name>updateMemory</name>", "<statement>I&apos;m left-handed</statement>"),
    ),
    "youtubeTranscription": ("", block("<name>youtubeTranscription</name>")),
}
"""Arguments as a model may give them, and the block, of every tool."""


@pytest.mark.parametrize("name", obsidian.TOOLS)
def test_each_tool_has_its_canonical_block(name: str) -> None:
    arguments, expected = GOLDEN[name]
    assert obsidian.canonical(name, arguments) == expected


@pytest.mark.parametrize(
    ("name", "required", "parameters"),
    [
        ("localSearch", ("query", "salientTerms"), ("query", "salientTerms", "timeRange")),
        ("readNote", ("notePath",), ("notePath", "chunkIndex")),
        ("getTagList", (), ("includeInline", "maxEntries")),
        ("getFileTree", (), ()),
    ],
)
def test_a_tool_names_its_parameters_and_which_of_them_it_needs(
    name: str, required: tuple[str, ...], parameters: tuple[str, ...]
) -> None:
    assert obsidian.TOOLS[name].required == required
    assert obsidian.TOOLS[name].parameters == parameters


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            '{"b":"2","a":"1","c":{"z":[1, 2],"y":null}}',
            ["<a>1</a>", "<b>2</b>", "<c>{&quot;z&quot;:[1,2],&quot;y&quot;:null}</c>"],
        ),
        (
            '{"n":123456789012345678901234567890,"m":[1.50, 1e400]}',
            ["<m>[1.50,1e400]</m>", "<n>123456789012345678901234567890</n>"],
        ),
        ('{"a":null,"b":false,"c":""}', ["<b>false</b>", "<c></c>"]),
        ('{"a":"first","a":"last"}', ["<a>last</a>"]),
        (" ", []),
        ("{ }", []),
        ("not <json>", ["<args>not &lt;json&gt;</args>"]),
        ('{"a":', ["<args>{&quot;a&quot;:</args>"]),
        ('["a"]', ["<args>[&quot;a&quot;]</args>"]),
        ('"a"', ["<args>&quot;a&quot;</args>"]),
        ("null", ["<args>null</args>"]),
        ('{"args":"a"}', ["<args>{&quot;args&quot;:&quot;a&quot;}</args>"]),
        ('{"args":"a","b":"c"}', ["<args>a</args>", "<b>c</b>"]),
        ('{"a>b":1}', ["<args>{&quot;a&gt;b&quot;:1}</args>"]),
        ('{"a":"\\ud800"}', ["<args>{&quot;a&quot;:&quot;\\ud800&quot;}</args>"]),
    ],
)
def test_arguments_of_any_kind_are_written_without_loss(arguments: str, lines: list[str]) -> None:
    assert obsidian.canonical("<x>", arguments) == block("<name>&lt;x&gt;</name>", *lines)


def test_a_document_too_deep_to_be_json_is_text() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    written = obsidian.canonical("x", deep)
    assert written == block("<name>x</name>", f"<args>{deep}</args>")
    assert obsidian.read(written) == obsidian.Call("x", deep)


@pytest.mark.parametrize(("levels", "is_value"), [(126, True), (127, False)])
def test_a_child_is_a_value_as_long_as_the_arguments_around_it_can_be_read(
    levels: int, is_value: bool
) -> None:
    text = "[" * levels + "]" * levels
    for children in (f"<a>{text}</a>", f"<a>{text}</a>\n  <a>{text}</a>"):
        call = obsidian.read(block("<name>x</name>", children))
        assert call is not None
        value = json.loads(call.arguments)["a"]
        found = value if children.count("<a>") == 1 else value[0]
        assert isinstance(found, list) is is_value
        assert parse.is_object(call.arguments)


@pytest.mark.parametrize(("levels", "written"), [(127, "a"), (128, "args")])
def test_arguments_are_children_as_long_as_they_can_be_read(levels: int, written: str) -> None:
    arguments = f'{{"a":{"[" * levels}{"]" * levels}}}'
    assert f"\n  <{written}>" in obsidian.canonical("x", arguments)


def test_a_block_of_more_children_than_a_call_has_is_malformed() -> None:
    most = "<a/>" * obsidian.MEMBERS_MAX
    assert obsidian.read(block("<name>x</name>", most)) is not None
    assert obsidian.read(block("<name>x</name>", most + "<a/>")) is None


def test_an_object_of_more_members_than_a_call_has_stays_as_it_is() -> None:
    members = [f'"k{number}": 1' for number in range(obsidian.MEMBERS_MAX + 1)]
    for text, written in (
        (f"{{{', '.join(members[:-1])}}}", "k0"),
        (f"{{{', '.join(members)}}}", "args"),
    ):
        canonical = obsidian.canonical("x", text)
        assert f"\n  <{written}>" in canonical
        again = obsidian.read(canonical)
        assert again is not None
        assert len(json.loads(again.arguments)) == text.count(":")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("<use_tool><name>getFileTree</name></use_tool>", "getFileTree"),
        ("<use_tool>\n <name> getFileTree\n</name>\n</use_tool>", "getFileTree"),
        ('<use_tool name="getFileTree"/>', "getFileTree"),
        ("<use_tool id='1' name = 'getFileTree' />", "getFileTree"),
        ('<use_tool name="getFileTree"></use_tool>', "getFileTree"),
        ('<use_tool\n  name="a&amp;&quot;b&quot;&#39;&apos;>">\n</use_tool>', "a&\"b\"''>"),
        ("<use_tool title=\"name='no'\" name='yes'/>", "yes"),
        ('<use_tool name="other"><name>this</name></use_tool>', "this"),
    ],
)
def test_the_name_is_a_child_or_an_attribute(raw: str, name: str) -> None:
    assert obsidian.read(raw) == obsidian.Call(name, "{}")


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ("<b>2</b>\n\n<a >1</a>", '{"a":"1","b":"2"}'),
        ("<a/><salientTerms>s</salientTerms><query/>", '{"query":"","salientTerms":"s","a":""}'),
        ("<日本>語</日本>", '{"日本":"語"}'),
        ("<a>1</a><name>localSearch</name><b>2</b>", '{"a":"1","b":"2"}'),
        ("<name>localSearch</name><name>n</name>", '{"name":"n"}'),
        ("<a>1</a><a>[2]</a>", '{"a":["1",[2]]}'),
    ],
)
def test_child_tags_are_parameters_in_canonical_order(body: str, arguments: str) -> None:
    raw = f"<use_tool name='localSearch'>{body}</use_tool>"
    assert obsidian.read(raw) == obsidian.Call("localSearch", arguments)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", '""'),
        ("\n  # é\n\n b \n", r'"\n  # é\n\n b \n"'),
        ("1 < 2 && <b>3 > 2</b>", '"1 < 2 && <b>3 > 2</b>"'),
        ("<br></br", '"<br></br"'),
        ("x</a> is ", '"x</a> is "'),
        ("<a>y</a>", '"<a>y</a>"'),
        ("&amp;lt; &lt;b&gt; it&apos;s it&#39;s &nbsp;", "\"&lt; <b> it's it's &nbsp;\""),
        ("&quot;&quot;", r'"\"\""'),
        ('\n[ "b" , {"c": 1.50} ]\n', '["b",{"c":1.50}]'),
        ("{&quot;b&quot;:[]}", '{"b":[]}'),
        ("[1] and [2]", '"[1] and [2]"'),
        ("[1", '"[1"'),
        ("1", '"1"'),
        ("true", '"true"'),
        ("null", '"null"'),
        ('"d"', r'"\"d\""'),
    ],
)
def test_a_value_is_a_whole_array_or_object_or_an_exact_string(written: str, value: str) -> None:
    last = f"<use_tool name='x'><a>{written}</a></use_tool>"
    assert obsidian.read(last) == obsidian.Call("x", f'{{"a":{value}}}')
    first = f"<use_tool>\n<name>x</name>\n<a>{written}</a>\n<b>c</b>\n</use_tool>"
    assert obsidian.read(first) == obsidian.Call("x", f'{{"a":{value},"b":"c"}}')


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (
            '\n{"b": 1.50, "notePath": "<b>n</b> &amp;"}\n',
            '{"notePath":"<b>n</b> &amp;","b":1.50}',
        ),
        ('<name>readNote</name>{"a": 123456789012345678901}', '{"a":123456789012345678901}'),
        ("{&quot;a&quot;: &quot;&lt;b&gt;&quot;}", '{"a":"<b>"}'),
        ('<args>{"b": null, "a": "&lt;/args>"}</args>', '{"a":"</args>","b":null}'),
        ("<args>{}</args>", "{}"),
        ("<args> </args>", "{}"),
        ("<args/>", "{}"),
        ("<args>{}</args><b>c</b>", '{"args":{},"b":"c"}'),
        ("\n find &lt;it&gt; \n", "find <it>"),
        ("<args> [&amp;lt;1] </args>", " [&lt;1] "),
        ("<args>{&amp;quot;a&amp;quot;:1}</args>", "{&quot;a&quot;:1}"),
    ],
)
def test_text_is_the_arguments_where_there_is_no_parameter(body: str, arguments: str) -> None:
    raw = f"<use_tool name='readNote'>{body}</use_tool>"
    assert obsidian.read(raw) == obsidian.Call("readNote", arguments)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "<use_tool>",
        "<use_tool></use_tool>",
        "<use_tool/>",
        "<use_tool><name> </name></use_tool>",
        "<use_tool name=''/>",
        "<use_tool filename='x'/>",
        "<use_tool name='x></use_tool>",
        "<use_tool name='x'</use_tool>",
        "<use_tool name='x'>",
        "<use_tool name='x'/><a>1</a>",
        "<use_toolbox name='x'></use_toolbox>",
        "<use_tool><name>x</use_tool>",
        '<use_tool>{"name":"x"}</use_tool>',
        "<use_tool name='x'><a>1</use_tool>",
        "<use_tool name='x'><a>1</b></use_tool>",
        "<use_tool name='x'><a>1</a> and <b>2</b></use_tool>",
        "<use_tool name='x'><a>1</a> that is all</use_tool>",
        '<use_tool name="x"><a>1</a>{"b":2}</use_tool>',
        "<use_tool name='x'><!-- a --></use_tool>",
    ],
)
def test_a_block_that_cannot_be_read_whole_is_malformed(raw: str) -> None:
    assert obsidian.read(raw) is None


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("<>&\"'/[{ \n"), max_size=12)
KEYS = st.sampled_from(["query", "salientTerms", "path", "args", "name", "日本", "a b", "", "<"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def is_structured(text: str) -> bool:
    """Whether a string is JSON of an array or object, and so comes back as that."""
    try:
        return isinstance(json.loads(text), list | dict)
    except ValueError:
        return False


@given(
    st.sampled_from([*obsidian.TOOLS, "x", "<&'\""]),
    st.dictionaries(
        KEYS,
        TEXTS.filter(lambda text: not is_structured(text))
        | st.lists(JSON, max_size=3)
        | st.dictionaries(TEXTS, JSON, max_size=3),
        max_size=5,
    ),
    st.booleans(),
)
def test_what_was_written_is_read_back(
    name: str, arguments: dict[str, Any], escaped: bool
) -> None:
    text = json.dumps(arguments, ensure_ascii=escaped)
    call = obsidian.read(obsidian.canonical(name, text))
    assert call is not None
    assert call.name == name
    assert json.loads(call.arguments) == arguments
    again = obsidian.canonical(name, call.arguments)
    if all(map(str.isidentifier, arguments)) and set(arguments) != {"args"}:
        assert again == obsidian.canonical(name, text), "the canonical form is one"


@given(TEXTS.filter(lambda text: text.strip() and not is_structured(text)))
def test_arguments_that_are_no_object_are_read_back(arguments: str) -> None:
    call = obsidian.read(obsidian.canonical("x", arguments))
    assert call == obsidian.Call("x", arguments)


@pytest.mark.parametrize(
    ("arguments", "back"),
    [
        ('{"a":1,"b":true,"c":1.50}', '{"a":"1","b":"true","c":"1.50"}'),
        ('{"a":null}', "{}"),
        ('{"a":"[1]"}', '{"a":[1]}'),
    ],
)
def test_what_the_block_cannot_say_comes_back_as_what_it_says(arguments: str, back: str) -> None:
    assert obsidian.read(obsidian.canonical("x", arguments)) == obsidian.Call("x", back)


SHREDS = (
    *("<use_tool", "</use_tool>", ">", "/>", " name='x'", '"', "'", "<name>", "</name>", "<a>"),
    *("</a>", "<a/>", "<args>", "</args>", '{"a":1}', "x", "[", "&amp;", "&", "\n", "漢"),
)
"""What a block is made of, and what breaks it."""


@given(st.lists(st.sampled_from(SHREDS)).map("".join))
def test_what_is_read_can_be_written_and_read_again(text: str) -> None:
    call = obsidian.read(f"<use_tool{text}</use_tool>")
    if call is not None:
        written = obsidian.canonical(call.name, call.arguments)
        again = obsidian.read(written)
        assert again is not None
        assert again.name == call.name
        assert obsidian.canonical(again.name, again.arguments) == written


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name)
        for name, make in {
            "many attributes": lambda n: "<use_tool " + "a='b' " * n + "></use_tool>",
            "no end of the tag": lambda n: "<use_tool " + "a='b' " * n + "'></use_tool>",
            "one word in the tag": lambda n: f"<use_tool {'a' * 6 * n}></use_tool>",
            "quotes in the tag": lambda n: "<use_tool" + " ''\"\"" * n + " name='x'/>",
            "spaces in the tag": lambda n: f"<use_tool name{' ' * 6 * n}></use_tool>",
            "many children": lambda n: f"<use_tool name='x'>{'<a>1</a>' * n}</use_tool>",
            "many closings": lambda n: f"<use_tool name='x'><a>{'</a>.' * n}</use_tool>",
            "closings and spaces": lambda n: f"<use_tool name='x'><a>{'</a>   ' * n}.</use_tool>",
            "no closing": lambda n: f"<use_tool name='x'>{'<a>' * n}</use_tool>",
            "a long name": lambda n: f"<use_tool name='x'><{'a' * 6 * n}</use_tool>",
            "spaces": lambda n: f"<use_tool name='x'>{' ' * 6 * n}<</use_tool>",
            "entities": lambda n: f"<use_tool name='x'><a>{'&&lt;' * n}</a></use_tool>",
            "open arrays": lambda n: f"<use_tool name='x'><a>{'[' * 6 * n}</a></use_tool>",
        }.items()
    ],
)
def test_time_is_linear_in_the_block(make: Callable[[int], str]) -> None:
    def prepare(length: int) -> Callable[[], object]:
        text = make(length)
        return lambda: obsidian.read(text)

    growth.check_linear(prepare, 20_000)
