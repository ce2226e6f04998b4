"""What fuzzing found stays found: the inputs in fuzz/regressions and fuzz/corpus, and what no single input shows.

No clang is needed: C harnesses are compiled by the compiler at hand, with sanitizers where it has them; Python targets run here.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from dumpfmt import Decoder, DumpError, Key, KeySet, Limits, dumps, loads, quickdump, v1

FUZZ = Path(__file__).resolve().parent.parent / "fuzz"
#: Seconds in which work on an input of 1 MB is done, on a slow machine too; what is quadratic takes minutes.
SOON = 10.0


def module(name: str) -> ModuleType:
    """A file of fuzz/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FUZZ / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


run, targets, pyfuzz = module("run"), module("targets"), module("pyfuzz")


def inputs(kind: str, target: str) -> list[Path]:
    return sorted((FUZZ / kind / target).glob("*"))


def all_inputs(names: object) -> Iterator[tuple[str, Path]]:
    for target in sorted(names):  # type: ignore[call-overload]
        for kind in ("regressions", "corpus"):
            for path in inputs(kind, target):
                yield target, path


@pytest.mark.parametrize(
    ("target", "path"),
    [pytest.param(target, path, id=f"{target}-{path.name}") for target, path in all_inputs(targets.TARGETS)],
)
def test_an_input_of_a_python_target(target: str, path: Path) -> None:
    targets.TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", sorted(set(run.C_TARGETS) - set(targets.TARGETS)))
def test_the_inputs_of_a_c_target(target: str, tmp_path: Path) -> None:
    main = str(FUZZ / "csrc" / "standalone.c")
    try:
        program = run.build(
            target, ["cc"], ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", main], tmp_path / "p"
        )
    except run.CannotBuild:
        try:
            program = run.build(target, ["cc"], [main], tmp_path / "p")
        except run.CannotBuild as error:
            if "not installed" not in str(error):
                raise
            pytest.skip("there is no C compiler (apt install gcc libc6-dev)")
    files = [*inputs("regressions", target), *inputs("corpus", target)]
    assert files
    done = subprocess.run([program, *files], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-4000:]


@pytest.mark.parametrize("target", run.TARGETS)
def test_each_target_has_seeds_and_words(target: str) -> None:
    assert inputs("corpus", target)
    assert pyfuzz.dictionary(FUZZ / "dict" / f"{target}.dict")


def test_the_seeds_are_small() -> None:
    assert sum(path.stat().st_size for path in FUZZ.glob("corpus/*/*")) < 1 << 20


def test_the_driver_without_atheris_finds_and_keeps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def target(data: bytes) -> str:
        assert b"$end" not in data
        return str(len(data))

    flags = {
        "max_total_time": "60",
        "artifact_prefix": f"{tmp_path}/",
        "seed": "1",
        "dict": str(FUZZ / "dict" / "records.dict"),
    }
    assert pyfuzz.fuzz(target, flags, [b"x"], None) == 1
    (crash,) = tmp_path.iterdir()
    assert b"$end" in crash.read_bytes()
    assert str(crash) in capfd.readouterr().err
    assert pyfuzz.fuzz(target, {"max_total_time": "0.1"}, [b"x"], tmp_path) == 0


def test_the_runner_says_what_is_wrong_with_its_arguments() -> None:
    for arguments in ([], ["soon"], ["1", "nothing"]):
        done = subprocess.run(
            [sys.executable, FUZZ / "run.py", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "usage: run.py SECONDS" in done.stderr


def test_the_runner_names_the_package_where_clang_is_missing() -> None:
    command = [sys.executable, str(FUZZ / "run.py"), "1", "names"]
    environment = {**os.environ, "CLANG": "no-such-clang"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "skipped: needs no-such-clang with libFuzzer" in done.stdout
    assert "apt install clang" in done.stdout


# --- what was found ---


def record(command: str, first: str, second: str) -> bytes:
    return f"{command} {len(first)} {len(second)}\n{first}\n{second}\n".encode()


def dump(*records: bytes) -> bytes:
    return b"kdbOpen 2\n" + b"".join(records) + b"$end\n"


def test_a_metakey_has_one_spelling_for_every_parser() -> None:
    r"""`\#5` and `#5` are one name (facts 1.2); the compiled scanner took the first as it stood."""
    data = dump(record("$key string", "user:/a", ""), record("$meta", "\\#5", "x"))
    for parser in ("fast", "python", "lark"):
        assert dict(loads(data, parser=parser)[0].meta) == {"#5": "x"}


def test_nothing_fed_is_nothing() -> None:
    """The compiled scanner once computed with a null pointer there."""
    decoder = Decoder()
    assert decoder.feed(b"") is None
    assert decoder.feed(dump()) == KeySet()


def test_limits_may_be_more_than_a_machine_word() -> None:
    limits = Limits(message=10**30, name=10**30, value=10**30, keys=10**30)
    assert len(loads(dump(record("$key string", "user:/a", "x")), limits=limits)) == 1


CHAIN = """
import sys
from pathlib import Path
from dumpfmt import dumps, loads
data = Path(sys.argv[1]).read_bytes()
keyset = loads(data)
last = keyset[len(keyset) - 1]
assert len(last.meta) == 2
before = keyset[len(keyset) - 2]
assert sum(last.meta[name] is before.meta[name] for name in "ab") == 1
assert dumps(keyset) == dumps(loads(data, parser="python")) == data
"""


def test_metadata_shared_from_key_to_key_needs_no_deep_stack(tmp_path: Path) -> None:
    """Each key takes from the key before it: asking for the last of many ended the process."""
    names = [f"user:/{i:06}" for i in range(40_000)]
    records = [record("$key string", names[0], ""), record("$meta", "a", "")]
    for i, (before, name) in enumerate(pairwise(names), 1):
        own, taken = record("$meta", "ab"[i % 2], ""), record("$copymeta", before, "ab"[(i - 1) % 2])
        records += [record("$key string", name, ""), *((taken, own) if i % 2 else (own, taken))]
    (tmp_path / "dump").write_bytes(dump(*records))
    command = [sys.executable, "-c", CHAIN, str(tmp_path / "dump")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def descending(count: int) -> list[str]:
    return [f"{i:05}" for i in range(count, 0, -1)]


def as_dump(names: list[str]) -> KeySet:
    return loads(dump(record("$key string", "user:/a", ""), *(record("$meta", name, "x") for name in names)))


def as_quickdump(names: list[str]) -> KeySet:
    metadata = b"".join(b"m\x0b" + name.encode() + b"\x03x" for name in names)
    return quickdump.loads(quickdump.MAGIC + b"\x01s\x01" + metadata + b"\0", "user:/a")


def as_v1(names: list[str]) -> KeySet:
    metadata = "".join(f"keyMeta 6 2\n{name}\0x\0\n" for name in names)
    return v1.loads(f"kdbOpen 1\nkeyNew 7 1\nuser/a\0\0\n{metadata}keyEnd\n".encode())


@pytest.mark.parametrize("read", [as_dump, as_quickdump, as_v1])
@pytest.mark.parametrize("turn", [1, -1], ids=["descending", "ascending"])
def test_many_metakeys_of_one_key_cost_little_in_any_order(read: Callable[[list[str]], KeySet], turn: int) -> None:
    names = descending(20_000)[::turn]
    start = time.monotonic()
    keyset = read(names)
    assert time.monotonic() - start < SOON
    assert list(keyset[0].meta) == sorted(names)
    assert dumps(keyset) == dumps(KeySet([Key("user:/a", "", dict.fromkeys(sorted(names), "x"))]))


def test_a_repeated_metakey_keeps_its_place_and_the_last_text() -> None:
    texts = {"b": "1", "a": "2", "c": "3"}
    records = [record("$meta", name, text) for name, text in (("b", "0"), ("c", "3"), ("a", "2"), ("b", "1"))]
    for parser in ("fast", "python", "lark"):
        keyset = loads(
            dump(record("$key string", "user:/a", ""), *records, record("$key string", "user:/b", "")), parser=parser
        )
        assert list(keyset[0].meta.items()) == sorted(texts.items())


def test_an_announced_length_takes_no_memory() -> None:
    """Room is made for what arrives, not for what is promised."""
    import tracemalloc

    for parser in ("fast", "python"):
        tracemalloc.start()
        try:
            decoder = Decoder(parser=parser)
            assert decoder.feed(b"kdbOpen 2\n$key string 7 250000000\nuser:/a\n") is None
            for _ in range(100):
                assert decoder.feed(b"x" * 100) is None
            with pytest.raises(DumpError):
                decoder.close()
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
