"""A child that does its part until PHASE, and then MISBEHAVES.

    bad.py PHASE MISBEHAVIOUR [process]

PHASE: start (before it reads anything), handshake (INIT was read), contract (ACK and name were written), an operation (its
request was read), or end (TERMINATE was read). It imports nothing of the project, so that it is a second opinion on the
protocol: an echo, in whatever dialect INIT names.
"""

import os
import resource
import signal
import subprocess
import sys
import time

PARENT_OF_ANOTHER_NAME = b"kdbOpen 2\n$key string 11 0\nuser:/other\n\n$end\n"
EMPTY = b"kdbOpen 2\n$end\n"
OPERATIONS = ("open", "get", "set", "commit", "error", "checkconf", "close")


def write(data, fd=1):
    while data:
        data = data[os.write(fd, data) :]


class Source:
    def __init__(self):
        self.data = b""

    def more(self):
        data = os.read(0, 65536)
        if not data:
            os._exit(0)
        self.data += data

    def line(self):
        while b"\n" not in self.data:
            self.more()
        line, _, self.data = self.data.partition(b"\n")
        return line

    def take(self, count):
        parts, have = [self.data], len(self.data)
        while have < count:
            data = os.read(0, 1 << 20)
            if not data:
                os._exit(0)
            parts.append(data)
            have += len(data)
        self.data = b"".join(parts)
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def keyset(self):
        found = []
        while True:
            line = self.line()
            found.append(line + b"\n")
            if line == b"$end":
                return b"".join(found)
            if line != b"kdbOpen 2":
                first, second = (int(word) for word in line.split()[-2:])
                found.append(self.take(first + second + 2))


def contract(word):
    keys = {b"infos/author": b"bad", **{b"exports/" + op.encode(): b"1" for op in operations(word)}}
    root = b"system:/elektra/modules/" + word.lower() + b"/"
    body = b"".join(
        b"$key string %d %d\n%s\n%s\n" % (len(root + k), len(v), root + k, v) for k, v in sorted(keys.items())
    )
    return b"kdbOpen 2\n" + body + b"$end\n"


def operations(word):
    return OPERATIONS if word == b"STDIOPROC" else ("open", "get", "set", "close")


class Child:
    """What a misbehaviour may look at: the answer that was due, whole."""

    def __init__(self):
        self.source = Source()
        self.due = b""
        self.operation = ""

    # --- misbehaviours; what returns has said all that it wanted, and the child goes on

    def silent(self):
        """Says nothing, and waits."""
        while True:
            signal.pause()

    def stopped(self):
        """Stops itself with SIGSTOP."""
        os.kill(os.getpid(), signal.SIGSTOP)

    def stubborn(self):
        """Says nothing, and ignores SIGTERM and the end of its input."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.silent()

    def clings(self):
        """With a child, and a daemon in a session of its own, all deaf to the end of input and to SIGTERM. Whoever wants their
        numbers gives NOTE, a file or a named pipe.
        """
        family()
        self.silent()

    def clings_and_answers(self):
        family()
        write(self.due)

    def spins(self):
        """Computes for ever, and ignores SIGTERM."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass

    def half(self):
        """Says half of the answer, and waits."""
        write(self.due[: len(self.due) // 2])
        self.silent()

    def half_and_exit(self):
        """Says half of the answer, and ends."""
        write(self.due[: len(self.due) // 2])
        os._exit(0)

    def half_a_line(self):
        write(self.due[:3])
        self.silent()

    def trickle(self):
        """One byte a second."""
        for byte in self.due:
            write(bytes([byte]))
            time.sleep(1)

    def endless_line(self):
        while True:
            write(b"x" * 65536)

    def endless_keyset(self):
        head, _, _ = self.due.partition(b"$end\n")
        write(head)
        number = 0
        while True:
            number += 1
            name = b"user:/endless/%d" % number
            write(b"$key string %d 4096\n%s\n%s\n" % (len(name), name, b"x" * 4096))

    def huge_length(self):
        write(self.due.replace(b"$end\n", b"$key string 9 999999999999\nuser:/big\nx\n$end\n", 1))
        self.silent()

    def negative_length(self):
        write(self.due.replace(b"$end\n", b"$key string -1 5\nuser:/big\nx\n$end\n", 1))
        self.silent()

    def length_too_short(self):
        write(self.due.replace(b"$end\n", b"$key binary 9 2\nuser:/big\nabc\n$end\n", 1))
        self.silent()

    def wrong_word(self):
        """Another result word."""
        write(b"well\n" + self.due.partition(b"\n")[2])
        self.silent()

    def capital_word(self):
        """The result in capitals, and with CR LF."""
        write(self.due.partition(b"\n")[0].upper() + b"\r\n" + self.due.partition(b"\n")[2])
        self.silent()

    def blank_line_first(self):
        write(b"\n" + self.due)
        self.silent()

    def blank_line_last(self):
        write(self.due + b"\n")

    def nothing_but_the_word(self):
        write(self.due.partition(b"\n")[0] + b"\n")
        self.silent()

    def no_parent(self):
        word, _, rest = self.due.partition(b"\n")
        write(word + b"\n" + EMPTY + rest.partition(b"$end\n")[2])

    def two_parents(self):
        word, _, rest = self.due.partition(b"\n")
        head, _, tail = rest.partition(b"$end\n")
        write(word + b"\n" + head + b"$key string 9 0\nuser:/two\n\n$end\n" + tail)

    def other_parent(self):
        word, _, rest = self.due.partition(b"\n")
        write(word + b"\n" + PARENT_OF_ANOTHER_NAME + rest.partition(b"$end\n")[2])

    def one_keyset_too_few(self):
        write(self.due[: self.due.rindex(b"kdbOpen 2\n")])
        self.silent()

    def one_keyset_too_many(self):
        write(self.due + EMPTY)
        self.silent()

    def answers_twice(self):
        """Answers twice, the second time before the next question."""
        write(self.due + self.due)

    def invalid_name(self):
        write(self.due.replace(b"$end\n", b"$key string 5 0\nnope/\n\n$end\n", 1))

    def nul_in_string(self):
        write(self.due.replace(b"$end\n", b"$key string 6 3\nuser:/\na\0b\n$end\n", 1))

    def meta_first(self):
        """Metadata before any key."""
        write(self.due.replace(b"kdbOpen 2\n", b"kdbOpen 2\n$meta 1 1\na\nb\n", 1))

    def copymeta_of_nothing(self):
        """Metadata of a key that was not sent."""
        write(self.due.replace(b"$end\n", b"$key string 6 0\nuser:/\n\n$copymeta 9 1\nuser:/zzz\na\n$end\n", 1))

    def noise(self):
        """Bytes of all values."""
        write(bytes(range(256)) * 8)
        self.silent()

    def prints_before(self):
        """Prints on stdout before the answer."""
        write(b"Hello from a print statement\n" + self.due)
        self.silent()

    def prints_behind(self):
        """Prints on stdout behind the answer."""
        write(self.due + b"Hello from a print statement\n")

    def closes_stdin(self):
        os.close(0)
        self.silent()

    def closes_stdout(self):
        os.close(1)
        self.silent()

    def closes_stdin_and_answers(self):
        os.close(0)
        write(self.due)
        self.silent()

    def closes_everything(self):
        os.closerange(0, 3)
        self.silent()

    def closes_stderr_then_stdout(self):
        os.close(2)
        os.close(1)
        self.silent()

    def out_of_memory(self):
        """Needs more memory than it may have."""
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
        bytearray(1 << 30)

    def out_of_descriptors(self):
        """Needs more descriptors than it may have."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
        while True:
            os.dup(0)

    def disk_full(self):
        """Writes to a disk that is full, and does not expect that."""
        with open("/dev/full", "w") as file:
            file.write("data")

    def raises(self):
        """Ends with a traceback in the middle of its answer."""
        write(self.due[: len(self.due) // 2])
        raise KeyError("nobody thought of this")

    def ignores_everything_and_answers(self):
        """Answers, but ignores SIGTERM, SIGINT, SIGHUP and, from then on, its input."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        write(self.due)
        self.silent()

    def exit_0(self):
        os._exit(0)

    def exit_1(self):
        os._exit(1)

    def answers_and_exits(self):
        """Answers, and ends."""
        write(self.due)
        os._exit(3)

    def complains_and_exits(self):
        """Says why on stderr, and ends."""
        write(b"first line\nsomething is wrong: the disk is full\n", 2)
        os._exit(4)

    def killed(self):
        """Is killed by SIGKILL."""
        os.kill(os.getpid(), signal.SIGKILL)

    def aborts(self):
        os.abort()

    def segfaults(self):
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    def floods_stderr(self):
        """Writes 100 MB to stderr, and answers."""
        block = b"e" * 1023 + b"\n"
        for _ in range(100):
            write(block * 1024, 2)
        write(b"end of the flood\n", 2)
        write(self.due)

    def grandchild_holds_pipes(self):
        grandchild(["/bin/sleep", "60"])
        os._exit(5)

    def grandchild_holds_pipes_and_answers(self):
        grandchild(["/bin/sleep", "60"])
        write(self.due)

    def grandchild_floods(self):
        """A descendant goes on writing when the child is dead, in a group of its own."""
        grandchild(["/bin/sh", "-c", "exec timeout 5 yes"], start_new_session=True)
        os._exit(6)

    def grandchild_answers(self):
        """The answer comes from a descendant, when the child itself is dead."""
        if os.fork():
            os._exit(0)
        time.sleep(0.3)
        write(self.due)
        os._exit(0)


def grandchild(argv, **options):
    subprocess.Popen(argv, close_fds=False, **options)


def family():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    tell, told = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
        os.write(told, b"%d\n" % os.getpid())
        while True:
            signal.pause()
    numbers = b""
    while numbers.count(b"\n") < 2:
        numbers += os.read(tell, 99)
    os.close(tell)
    os.close(told)
    if "NOTE" in os.environ:
        note = os.open(os.environ["NOTE"], os.O_WRONLY | os.O_APPEND)
        os.write(note, numbers + b"%d\n%d\n" % (os.getpid(), os.getppid()))
        os.close(note)


def main():
    phase, misbehaviour, *dialect = sys.argv[1:]
    child = Child()

    def due(at, answer):
        """Answer, or misbehave where it is time to."""
        child.due, child.operation = answer, at
        if at == phase:
            getattr(child, misbehaviour)()
        else:
            write(answer)

    if phase == "start":
        due("start", b"ELEKTRA_STDIOPROC ACK v1\nbad\n" + contract(b"STDIOPROC"))
    init = child.source.line()
    word = init.partition(b"_")[2].partition(b" ")[0]
    if dialect and word.decode().lower() != dialect[0]:
        os._exit(9)
    ack = b"ELEKTRA_%s ACK v1\nbad\n" % word
    if phase == "contract":
        write(ack)
        due("contract", contract(word))
    elif phase != "start":
        due("handshake", ack + contract(word))
    released = word == b"PROCESS"
    while True:
        operation = child.source.line().decode()
        if operation.endswith(" TERMINATE"):
            due("end", b"")
            os._exit(0)
        parent = child.source.keyset()
        data = b"" if released and operation == "close" else child.source.keyset()
        if released and operation == "open":
            data = b""
        due(operation, b"success\n" + parent + data)


main()
