"""What the command line says of arguments that it does not have."""

import pytest

from server.cli import parser as parsers
from server.cli.parser import Parser


def made() -> Parser:
    parser = Parser(prog="turntape")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in ("serve", "replay", "log", "logout"):
        command = commands.add_parser(name)
        command.add_argument("--worker")
        command.set_defaults(parser=command)
    return parser


@pytest.mark.parametrize(
    ("arguments", "usage", "said"),
    [
        (["serve", "--workr", "x"], "turntape serve", "--workr x. Did you mean --worker?"),
        (["serve", "--workr=x"], "turntape serve", "--workr=x. Did you mean --worker?"),
        (["serve", "--qqqq"], "turntape serve", "unrecognized arguments: --qqqq\n"),
        (
            ["serve", "--worker", "-x"],
            "turntape serve",
            "expected one argument; one that begins with - is given as --worker=-...\n",
        ),
        (["serv"], "turntape", "Did you mean serve?"),
        (["lgo"], "turntape", "Did you mean log?"),
        (["qqqq"], "turntape", "invalid choice: 'qqqq'"),
        ([], "turntape", "COMMAND"),
    ],
)
def test_a_mistake_has_the_usage_of_its_command_and_what_was_meant(
    arguments: list[str], usage: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        made().parse(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"usage: {usage} [-h]")
    assert said in printed


@pytest.mark.parametrize(
    "arguments",
    [["serve", "--x\x1b[31m\nturntape: ready\u202e"], ["se\x1b[31m"], ["serve", "\x1b]0;x\x07"]],
    ids=["a flag", "a command", "a word"],
)
def test_a_refusal_shows_control_characters_as_escapes(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        made().parse(arguments)
    *usage, refusal, end = capsys.readouterr().err.split("\n")
    assert [line for line in (*usage, refusal) if not line.isprintable()] == []
    assert end == ""
    assert "\\x1b" in refusal


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "'x' is not accepted; it takes a whole number, 0 to 9"),
        ("10", "'10' is not accepted; it takes a whole number, 0 to 9"),
        ("-1", "'-1' is not accepted; it takes a whole number, 0 to 9"),
        ("9" * 5000, "is not accepted; it takes a whole number, 0 to 9"),
    ],
)
def test_a_number_that_is_none_is_refused_with_what_is_taken(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="turntape")
    parser.add_argument("--count", type=parsers.whole(0, 9))
    assert parser.parse(["--count", "9"]).count == 9
    with pytest.raises(SystemExit):
        parser.parse([f"--count={text}"])
    assert said in capsys.readouterr().err


def test_what_is_right_is_read() -> None:
    assert made().parse(["serve", "--worker", "scripted"]).worker == "scripted"
