"""The plugin configuration: every row of the table in docs/mounting.md, and every way to get it wrong."""

from __future__ import annotations

import sys

import pytest

from dumpfmt import Key, KeySet, Limits
from stdioproc.host.config import ConfigError, PluginConfig

PROGRAM = {"user:/app": "/bin/cat"}


def read(values: dict[str, str | bytes | None]) -> PluginConfig:
    return PluginConfig.from_keyset(KeySet(Key(name, value) for name, value in values.items()))


def refusal(values: dict[str, str | bytes | None]) -> str:
    with pytest.raises(ConfigError) as caught:
        read(values)
    return str(caught.value)


def test_the_defaults_are_those_of_the_table() -> None:
    config = read({**PROGRAM})
    assert (config.program, config.args, config.env, config.copyenv) == ("/bin/cat", (), {}, ())
    assert (config.protocol, config.start) == ("auto", "lazy")
    assert (config.start_timeout, config.operation_timeout, config.close_timeout) == (5.0, 60.0, 2.0)
    assert repr(config.limits) == repr(Limits())
    assert config.line_limit == 4096
    assert config.config == KeySet()


def test_everything_can_be_set() -> None:
    config = read(
        {
            "user:/executable": "/bin/cat",
            "user:/args": "#1",
            "user:/args/#0": "a",
            "user:/args/#1": "b c",
            "user:/env/#0": "A=1=2",
            "user:/copyenv/#0": "B",
            "user:/config/x": "y",
            "user:/config/deep/er": "z",
            "user:/protocol": "process",
            "user:/start": "eager",
            "user:/timeout/start": "1500",
            "user:/timeout/operation": "0",
            "user:/timeout/close": "10",
            "user:/limit/message": "1",
            "user:/limit/name": "2",
            "user:/limit/value": "3",
            "user:/limit/keys": "4",
            "user:/limit/line": "5",
        }
    )
    assert config.args == ("a", "b c")
    assert config.environment({"B": "b", "C": "c"}) == {"A": "1=2", "B": "b"}
    assert config.environment({}) == {"A": "1=2"}
    assert [key.name for key in config.config] == ["user:/config/deep/er", "user:/config/x"]
    assert (config.protocol, config.start) == ("process", "eager")
    assert (config.start_timeout, config.operation_timeout, config.close_timeout) == (1.5, None, 0.01)
    assert repr(config.limits) == repr(Limits(message=1, name=2, value=3, keys=4))
    assert config.line_limit == 5


def test_user_comes_before_system() -> None:
    """`-c` of kdb mount puts keys into system:/, the plugin's own stand in user:/."""
    config = read(
        {"system:/app": "/bin/false", "user:/app": "/bin/true", "system:/args/#0": "s", "system:/start": "eager"}
    )
    assert (config.program, config.args, config.start) == ("/bin/true", ("s",), "eager")


def test_elektras_own_keys_do_not_disturb() -> None:
    read(
        {
            **PROGRAM,
            "user:/": "",
            "user:/config": "",
            "system:/": "",
            "system:/module": "1",
            "system:/fcrypt/textmode": "0",
            "system:/path": "x",
        }
    )


def test_more_than_ten_arguments() -> None:
    names = [f"#{index}" if index < 10 else f"#_{index}" for index in range(12)]
    config = read({**PROGRAM, "user:/args": "#_11", **{f"user:/args/{name}": name for name in names}})
    assert config.args == tuple(names)


def test_env_wins_over_copyenv() -> None:
    assert read({**PROGRAM, "user:/env/#0": "A=1", "user:/copyenv/#0": "A"}).environment({"A": "2"}) == {"A": "1"}


def test_an_empty_array_root_means_no_elements() -> None:
    assert read({**PROGRAM, "user:/args": ""}).args == ()


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({}, "user:/app", "app=/absolute/path"),
        ({"user:/app": "cat"}, "user:/app", "absolute path"),
        ({"user:/app": ""}, "user:/app", "absolute path"),
        ({"user:/app": b"/bin/cat"}, "user:/app", "binary"),
        ({"user:/app": "/bin/cat", "user:/executable": "/bin/dog"}, "user:/app", "differs from executable"),
        ({**PROGRAM, "user:/arg/#0": "x"}, "user:/arg/#0", "not known"),
        ({**PROGRAM, "user:/args/#0": "a", "user:/b": ""}, "user:/b", "a value with a comma"),
        ({**PROGRAM, "user:/ap": "x"}, "user:/ap", "was app meant?"),
        ({**PROGRAM, "user:/timeout": "5"}, "user:/timeout", "not known"),
        ({**PROGRAM, "user:/app/args": "x"}, "user:/app/args", "not known"),
        ({**PROGRAM, "user:/args/x": "x"}, "user:/args/x", "elements are args/#0"),
        ({**PROGRAM, "user:/args/#0/x": "x"}, "user:/args/#0/x", "elements are args/#0"),
        ({**PROGRAM, "user:/args/#1": "x"}, "user:/args/#1", "args/#0 is missing"),
        ({**PROGRAM, "user:/args/#0": "x", "user:/args/#2": "x"}, "user:/args/#2", "args/#1 is missing"),
        ({**PROGRAM, "user:/args": "#1", "user:/args/#0": "x"}, "user:/args", "args=#0"),
        ({**PROGRAM, "user:/args": "#0", "user:/args/#0": "x", "user:/args/#1": "x"}, "user:/args", "args=#1"),
        ({**PROGRAM, "user:/args": "10", "user:/args/#0": "x"}, "user:/args", "such as #1"),
        ({**PROGRAM, "user:/args": "#0"}, "user:/args", "leave args out"),
        ({**PROGRAM, "user:/args": "", "user:/args/#0": "x"}, "user:/args", "args=#0"),
        ({**PROGRAM, "user:/env/#0": "A"}, "env/#0", "NAME=value"),
        ({**PROGRAM, "user:/env/#0": "=x"}, "env/#0", "NAME=value"),
        ({**PROGRAM, "user:/env/#0": "A=1", "user:/env/#1": "A=2"}, "env/#1", "second time"),
        ({**PROGRAM, "user:/copyenv/#0": "A=1"}, "copyenv/#0", "use env/#"),
        ({**PROGRAM, "user:/copyenv/#0": ""}, "copyenv/#0", "name of an environment variable"),
        ({**PROGRAM, "user:/protocol": "http"}, "user:/protocol", "auto, stdioproc, process"),
        ({**PROGRAM, "user:/start": "later"}, "user:/start", "lazy, eager"),
        ({**PROGRAM, "user:/timeout/start": "5s"}, "user:/timeout/start", "milliseconds"),
        ({**PROGRAM, "user:/timeout/start": "-1"}, "user:/timeout/start", "milliseconds"),
        ({**PROGRAM, "user:/timeout/start": "²"}, "user:/timeout/start", "digits"),
        ({**PROGRAM, "user:/limit/keys": "0"}, "user:/limit/keys", "above 0"),
        ({**PROGRAM, "user:/limit/keys": "many"}, "user:/limit/keys", "above 0"),
        ({**PROGRAM, "user:/sha256": "ab"}, "user:/sha256", "64 hexadecimal digits"),
        (
            {**PROGRAM, "user:/sha256/interpreter": "a" * 64},
            "user:/sha256/interpreter",
            "give sha256 too",
        ),
        ({**PROGRAM, "system:/sandbox": "yes"}, "system:/sandbox", "must be one of 0, 1"),
        ({**PROGRAM, "user:/limit/memory": "0"}, "user:/limit/memory", "a number above 0"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(values: dict[str, str | bytes | None], key: str, words: str) -> None:
    message = refusal(values)
    assert message.startswith(f"configuration key {key.removeprefix('user:/')} ")
    assert words in message


def test_the_process_is_started_as_configured(tmp_path: object) -> None:
    """Nothing runs before it is started; then it is this program, with these arguments."""
    code = "import sys; print(sys.argv[1], file=sys.stderr); sys.exit(9)"
    config = read(
        {"user:/app": sys.executable, "user:/args/#0": "-c", "user:/args/#1": code, "user:/args/#2": "a word"}
    )
    process = config.process({}, "stdioproc")
    assert process.pid is None
    with pytest.raises(Exception, match=r"exit status 9(.|\n)*a word"):
        process.start()
