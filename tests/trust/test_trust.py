"""Which programs are refused, that a pinned one is the one that runs, and what a program is left with."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dumpfmt import Key, KeySet
from stdioproc.host import PluginDied, PluginProcess, PluginProcessError, PluginRefused, Trust, spawn
from stdioproc.host.config import PluginConfig
from stdioproc.testing import Stopwatch

pytestmark = pytest.mark.usefixtures("nothing_left")

ISOLATED = [sys.executable, "-I", "-S", "-c"]


def configured(program: str | Path, *args: str, **keys: str) -> PluginProcess:
    """As a mountpoint says it: limit_memory="1" is limit/memory=1."""
    config = KeySet([Key("user:/app", str(program)), Key("user:/protocol", "stdioproc")])
    for index, arg in enumerate(args):
        config.append(Key(f"user:/args/#{index}", arg))
    for name, value in keys.items():
        config.append(Key("user:/" + name.replace("_", "/"), value))
    return PluginConfig.from_keyset(config).process({})


def refused(plugin: PluginProcess) -> str:
    """Why; nothing was started."""
    with pytest.raises(PluginRefused) as caught:
        plugin.start()
    assert caught.value.phase == "start"
    assert caught.value.elektra_error().number == "C01200"
    assert plugin.ending is None
    return str(caught.value)


def ran(plugin: PluginProcess) -> PluginDied:
    """It was started, and is no plugin."""
    with pytest.raises(PluginDied) as caught:
        plugin.start()
    return caught.value


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    copy = tmp_path / "program"
    shutil.copy("/bin/true", copy)
    copy.chmod(0o755)
    return copy


# --- who can replace it


def test_a_file_that_others_can_write_is_refused(program: Path) -> None:
    program.chmod(0o757)
    reason = refused(configured(program))
    assert "it is writable by everybody (mode 0757)" in reason
    assert "chmod go-w" in reason and "insecure=1" in reason
    ran(configured(program, insecure="1"))
    program.chmod(0o755)
    ran(configured(program))


def test_a_directory_on_the_way_that_others_can_write_is_refused(tmp_path: Path, program: Path) -> None:
    below = tmp_path / "open" / "below"
    below.mkdir(parents=True)
    moved = shutil.move(program, below)
    (tmp_path / "open").chmod(0o777)
    assert f"the directory {tmp_path}/open, on the way to it, is writable by everybody" in refused(configured(moved))
    (tmp_path / "open").chmod(0o1777)  # there only owners replace files
    ran(configured(moved))


def test_every_link_on_the_way_is_looked_at(tmp_path: Path, program: Path) -> None:
    """The middle one of three lies where everybody could replace it; neither the path nor where it leads shows that."""
    for name in ("first", "middle", "last"):
        (tmp_path / name).mkdir()
    shutil.move(program, tmp_path / "last")
    (tmp_path / "middle" / "link").symlink_to("../last")
    (tmp_path / "first" / "link").symlink_to(tmp_path / "middle" / "link" / "." / "program")
    path = tmp_path / "first" / "link"
    ran(configured(path))
    (tmp_path / "middle").chmod(0o777)
    assert f"the directory {tmp_path}/middle, on the way to it," in refused(configured(path))
    ran(configured(path, insecure="1"))
    (tmp_path / "middle").chmod(0o755)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PluginProcessError, match="symbolic link"):
        configured(tmp_path / "loop").start()


def test_the_interpreter_is_looked_at_too(tmp_path: Path, program: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{program} -x\n")
    script.chmod(0o755)
    ran(configured(script))
    program.chmod(0o777)
    assert f"its interpreter {program} is writable by everybody" in refused(configured(script))
    above = tmp_path / "above"
    above.write_text(f"#!{script}\n")
    above.chmod(0o755)
    assert f"its interpreter {program} is writable by everybody" in refused(configured(above))


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give files to other users")
def test_a_group_that_is_not_the_owners_own_is_refused(program: Path) -> None:
    shared = next(
        group.gr_gid for group in grp.getgrall() if group.gr_gid not in {user.pw_gid for user in pwd.getpwall()}
    )
    program.chmod(0o775)
    os.chown(program, 0, shared)
    reason = refused(configured(program))
    assert f"the group {shared}, which is not its owner's own (mode 0775)" in reason
    assert "chmod g-w" in reason
    os.chown(program, 0, 54321)  # nobody has that number
    assert "the group 54321" in refused(configured(program))
    os.chown(program, 0, 0)
    ran(configured(program))
    # Two users whose main group is the same: none of them has it alone, although it lists no members.
    users = [user for user in pwd.getpwall() if sum(other.pw_gid == user.pw_gid for other in pwd.getpwall()) > 1]
    if users and not grp.getgrgid(users[0].pw_gid).gr_mem:
        os.chown(program, users[0].pw_uid, users[0].pw_gid)
        assert f"the group {users[0].pw_gid}" in refused(configured(program))


def test_an_access_control_list_counts_as_others(program: Path) -> None:
    setfacl = shutil.which("setfacl")
    if setfacl is None or subprocess.run([setfacl, "-m", "u:1:rwx", str(program)], check=False).returncode:
        pytest.skip("no access control lists here")
    assert "those in its access control list" in refused(configured(program))


# --- pins


def test_a_pinned_program_runs_and_another_does_not(program: Path) -> None:
    right = sha256(program)
    assert ran(configured(program, sha256=right)).ending == "exit status 0"
    assert ran(configured(program, sha256=right.upper())).ending == "exit status 0"
    reason = refused(configured(program, sha256="0" * 64))
    assert f"{program} has the SHA-256 {right}, but sha256={'0' * 64} is demanded" in reason
    program.chmod(0o777)
    assert "writable" in refused(configured(program, sha256=right))
    ran(configured(program, sha256=right, insecure="1"))
    assert "it is no script" in refused(configured(program, sha256=right, sha256_interpreter=right, insecure="1"))
    assert "no regular file" in refused(configured("/dev/null", sha256=right, insecure="1"))


#: Says what it got, and ends.
REPORT = "import os, sys\nprint(sys.argv, sorted(os.listdir('/dev/fd'), key=int), file=sys.stderr)\n"


def test_a_pinned_script_inherits_its_own_file_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable} -I\n{REPORT}")
    script.chmod(0o755)
    interpreter = sha256(sys.executable)
    plugin = configured(script, "one", "--two=x y", sha256=sha256(script), sha256_interpreter=interpreter)
    # 3 is the directory that is being listed; 5 is the script.
    assert ran(plugin).stderr.decode() == "['/dev/fd/5', 'one', '--two=x y'] ['0', '1', '2', '3', '5']\n"
    assert "sha256/interpreter=" in refused(
        configured(script, sha256=sha256(script), sha256_interpreter=sha256(script))
    )
    script.write_text(f"#!{sys.executable} -I\n{REPORT}#")
    assert f"{script} has the SHA-256" in refused(configured(script, sha256="1" * 64, sha256_interpreter=interpreter))


SWAP = """
import os, sys
*files, path = sys.argv[1:]
os.write(1, b"swapping\\n")
while True:
    for file in files:
        os.link(file, path + ".new")
        os.replace(path + ".new", path)
"""


@pytest.mark.parametrize("kind", ["program", "script"])
def test_swapped_in_between_it_is_never_the_other_that_runs(
    tmp_path: Path, hosts: Callable[..., subprocess.Popen[bytes]], kind: str
) -> None:
    right, wrong, path = (tmp_path / name for name in ("right", "wrong", "path"))
    if kind == "program":
        shutil.copy("/bin/true", right)
        shutil.copy("/bin/false", wrong)
    else:
        right.write_text("#!/bin/sh\nexit 0\n")
        wrong.write_text("#!/bin/sh\nexit 1\n")
    for file in (right, wrong):
        file.chmod(0o755)
    shutil.copy(right, path)
    pin = sha256(right)
    swapper = hosts(SWAP, str(right), str(wrong), str(path))
    assert swapper.stdout is not None
    assert swapper.stdout.readline() == b"swapping\n"
    endings, reasons = [], []
    for _ in range(2000):
        try:
            configured(path, sha256=pin).start()
        except PluginRefused as error:
            reasons.append(error.reason)
        except PluginDied as error:
            endings.append(error.ending)
        if min(len(endings), len(reasons)) >= 25:
            break
    assert min(len(endings), len(reasons)) >= 25
    assert set(endings) == {"exit status 0"}
    assert all("is demanded" in reason for reason in reasons)


def test_without_a_keeper_pins_and_limits_are_refused_and_the_rest_runs(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for protection does not run without it."""
    monkeypatch.setattr(spawn, "KEEPER", str(tmp_path / "none"))
    for keys in ({"sha256": sha256(program)}, {"limit_memory": "1000000000"}, {"limit_cpu": "9"}, {"limit_files": "9"}):
        assert "needs the keeper, and that was not built" in refused(configured(program, **keys))
    assert ran(configured(program)).ending == "exit status 0"


# --- limits


@pytest.mark.parametrize(
    ("limit", "value", "code", "words"),
    [
        ("limit_memory", str(256 << 20), "bytearray(1 << 30)", "MemoryError"),
        ("limit_files", "20", "[open('/dev/null') for _ in range(30)].clear()", "Too many open files"),
        ("limit_cpu", "1", "while True: pass", "signal SIGXCPU (its processor time is used up: limit/cpu)"),
    ],
)
def test_a_limit_is_in_force_and_told(limit: str, value: str, code: str, words: str) -> None:
    plugin = configured(sys.executable, "-I", "-S", "-c", code, timeout_start="20000", **{limit: value})
    assert words in str(ran(plugin))


def test_a_limit_that_leaves_no_room_for_the_program_is_an_error_not_a_riddle() -> None:
    assert "it ended" in str(ran(configured(sys.executable, "-c", "", limit_memory="4096")))
    error = ran(configured(sys.executable, "-c", "", limit_files="1"))
    assert "error while loading shared libraries" in str(error) or "Too many open files" in str(error)


def test_limits_are_what_they_say_and_never_above_the_hosts_own() -> None:
    code = (
        "import resource as r, sys\n"
        "print([r.getrlimit(x) for x in (r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_NOFILE)], file=sys.stderr)"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = {"limit_memory": str(1 << 30), "limit_cpu": "7", "limit_files": str(hard + 1000)}
    told = ran(configured(sys.executable, "-I", "-S", "-c", code, **limits)).stderr.decode()
    assert told == f"[({1 << 30}, {1 << 30}), (7, 8), ({hard}, {hard})]\n"


# --- what a program is left with

LOOK = """
import os, sys
mask = os.umask(0)
links = {}
for name in os.listdir("/proc/self/fd"):
    try:
        links[int(name)] = os.readlink("/proc/self/fd/" + name)
    except OSError:
        continue
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
try:
    open("/dev/tty")
    tty = True
except OSError:
    tty = False
told = dict(mask=mask, cwd=os.getcwd(), fds=sorted(fd for fd, link in links.items() if "/fd" not in link),
    privileges=status["NoNewPrivs"].strip(), tty=tty, environ=dict(os.environb), argv=sys.argv)
print(told, file=sys.stderr)
"""


def look(**options: object) -> dict[str, object]:
    plugin = PluginProcess([*ISOLATED, LOOK, "an argument", "ä"], protocol="stdioproc", **options)  # type: ignore[arg-type]
    told = ran(plugin).stderr.decode()
    return dict(eval(told))  # what a child of this test wrote


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    mask, before = os.umask(0o027), os.getcwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
    os.umask(mask)


@pytest.mark.parametrize("trust", [Trust(), Trust(files=64)])
def test_what_a_program_is_left_with(elsewhere: Path, trust: Trust) -> None:
    told = look(env={"A": "1"}, trust=trust)
    told["environ"].pop(b"LC_CTYPE", None)  # type: ignore[attr-defined]  # the interpreter's own doing
    assert told == {
        "mask": 0o027,
        "cwd": str(elsewhere),
        "fds": [0, 1, 2],
        "privileges": "1",
        "tty": False,
        "environ": {b"A": b"1"},
        "argv": ["-c", "an argument", "ä"],
    }


def test_no_descriptor_is_inherited_from_a_host_that_opens_them_all_the_time(tmp_path: Path) -> None:
    """Inheritable ones, many, and from threads while the program is started."""
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    for descriptor in many:
        os.set_inheritable(descriptor, True)
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            descriptor = os.open("/dev/null", os.O_RDONLY)
            os.set_inheritable(descriptor, True)
            os.close(descriptor)

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with Stopwatch(20):
            for _ in range(10):
                assert look()["fds"] == [0, 1, 2]
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for descriptor in many:
            os.close(descriptor)
