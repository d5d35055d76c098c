"""queue/dead_letters/pickles.py: a job can be read again, and nothing else is ever loaded."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stash_courier.queue import codec
from stash_courier.queue.dead_letters import pickles
from stash_courier.queue.dead_letters.pickles import UnsafePickleError
from stash_courier.queue.jobs import Attempt, CorruptRow, Delivery
from tests import ROOT

JOB = Delivery(
    row_id=7,
    destination="webhook:example.org",
    scene_id=5,
    event="destroy",
    changed=("title",),
    seq=1_700_000_000_001,
    at=1.5,
    path="/media/ä \udcff.mp4",
    history=tuple(
        Attempt(n + 0.123, "refused", f"No answer {n}: {'ü' * 500}", 500, f"{n} {'ä' * 2048}")
        for n in range(codec.COUNTED_KEPT + codec.UNCOUNTED_KEPT + 1)
    ),
)
GOOD = pickles.dumps({**asdict(JOB), "changed": list(JOB.changed), "history": [asdict(a) for a in JOB.history]})
PROTO = b"\x80\x04"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def text(value: str) -> bytes:
    """The opcode of a text."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def within(value: bytes) -> bytes:
    """A valid dict around a value, so that only the value is wrong."""
    return PROTO + b"}" + text("job") + value + b"s."


class Caller:
    """An object that pickles as a call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, Any]:
        return self.call


def test_a_job_comes_back_whole() -> None:
    """The largest job that can be stored is read back unchanged and is far below the limits."""
    assert pickles.loads(GOOD) == {
        **asdict(JOB),
        "changed": ["title"],
        "history": [asdict(a) for a in JOB.history],
    }
    assert len(list(pickletools.genops(GOOD))) < pickles.MOST_OPCODES / 5
    assert len(GOOD) < pickles.LARGEST_BYTES / 4


def test_the_bytes_of_a_corrupt_row_come_back() -> None:
    """The bytes of a corrupt row are read back, even megabytes of them."""
    for raw in (b"\x00\xff", b"\xff" * 3_000_000):
        assert pickles.loads(pickles.dumps(asdict(CorruptRow(1, "plex", 5, raw, "why"))))["raw"] == raw


@settings(max_examples=50)
@given(st.dictionaries(st.text(), values, max_size=4))
def test_whatever_is_plain_comes_back(job: dict[str, Any]) -> None:
    """Any plain data is read back as it was written."""
    assert pickles.loads(pickles.dumps(job)) == job


SYSTEM = b"cos\nsystem\n"
MARKER = "touched"
TOUCH = f"open({MARKER!r}, 'w').close()".encode()
MALICIOUS = {
    "GLOBAL": PROTO + b"c__builtin__\neval\n.",
    "GLOBAL REDUCE": b"c__builtin__\nexec\n(V" + TOUCH + b"\ntR.",
    "os.system": SYSTEM + b"(S'touch " + MARKER.encode() + b"'\ntR.",
    "STACK_GLOBAL": PROTO + text("builtins") + text("exec") + b"\x93" + text(TOUCH.decode()) + b"\x85R.",
    "INST": b"(S'" + TOUCH.replace(b"'", b'"') + b"'\ni__builtin__\nexec\n.",
    "OBJ": b"(c__builtin__\nexec\nS'" + TOUCH.replace(b"'", b'"') + b"'\no.",
    "NEWOBJ": PROTO + text("builtins") + text("dict") + b"\x93)\x81.",
    "NEWOBJ_EX": PROTO + text("builtins") + text("dict") + b"\x93)}\x92.",
    "BUILD": PROTO + b"}}b.",
    "EXT1": PROTO + b"\x82\x01.",
    "EXT2": PROTO + b"\x83\x01\x00.",
    "EXT4": PROTO + b"\x84\x01\x00\x00\x00.",
    "PERSID": b"Pid\n.",
    "BINPERSID": PROTO + text("id") + b"Q.",
    "protocol 0": pickle.dumps({"a": 1}, protocol=0),
    "protocol 2": pickle.dumps({"a": [1]}, protocol=2),
    "GET": b"}p0\n0g0\n.",
    "BINPUT": PROTO + b"}q\x00.",
    "LONG_BINPUT, the memory bomb": b"Nr\xff\xff\xff\x7f.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "BINBYTES8": PROTO + b"\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "BINUNICODE8": PROTO + b"\x8d" + struct.pack("<Q", 1 << 40) + b".",
    "BINBYTES that aren't there": PROTO + b"B\xff\xff\xff\x7f.",
    "LONG4": PROTO + b"\x8b\xff\xff\xff\x7f.",
    "a frame of exabytes": PROTO + b"\x95" + b"\xff" * 8 + b"}.",
    "a frame of petabytes": PROTO + b"\x95" + struct.pack("<Q", 1 << 50) + b"}.",
    "a frame of a gigabyte": PROTO + b"\x95" + struct.pack("<Q", 1 << 30) + b"}.",
    "laughs by memo": within(b"](]\x94" + b"".join(b"]\x94(h%ch%ce" % (n, n) for n in range(60)) + b"e"),
    "a list that holds itself": within(b"]\x94h\x00a"),
    "memo that isn't there": within(b"h\x09"),
    "the same list twice": within(b"]\x94h\x00\x86"),
    "a million lists": within(b"(" + b"]" * 1_000_000 + b"t"),
    "lists within each other": within(b"]" * 9000 + b"a" * 8999),
    "lists within each other, in slices": within(b"](" * 5000 + b"e" * 5000),
    "tuples within each other": within(b")" + b"\x85" * 9000),
    "dicts within each other": within((b"}" + text("k")) * 4000 + b"N" + b"s" * 4000),
    "a key that takes the C stack to hash": PROTO + b"})" + b"\x85" * 19_000 + b"Ns.",
    "tuples from a mark": within(b"(" * 5000 + b"t" * 5000),
    "too long": within(b"B" + struct.pack("<I", 5 << 20) + b"x" * (5 << 20)),
    "trailing garbage": GOOD + b"x",
    "two of them": GOOD + GOOD,
    "truncated": GOOD[: len(GOOD) // 2],
    "nothing": b"",
    "only STOP": b".",
    "only PROTO": PROTO + b".",
    "protocol 255": b"\x80\xff}.",
    "a list": pickle.dumps([1], protocol=4),
    "a text": pickle.dumps("x", protocol=4),
    "None": pickle.dumps(None, protocol=4),
    "a set": pickle.dumps({1}, protocol=4),
    "a frozenset": pickle.dumps(frozenset([1]), protocol=4),
    "a dataclass": pickle.dumps(JOB, protocol=4),
    "a call": pickle.dumps(Caller(exec, TOUCH.decode()), protocol=4),
    "a call within": pickle.dumps({"job": [Caller(exec, TOUCH.decode())]}, protocol=4),
    "SETITEM on nothing": PROTO + b"s.",
    "SETITEMS on a list": within(b"](K\x01K\x02u"),
    "a list as key": PROTO + b"}(]K\x01u.",
    "APPEND to a dict": within(b"}K\x01a"),
    "POP_MARK": PROTO + b"}(1.",
    "DUP": PROTO + b"}2.",
    "text that isn't UTF-8": PROTO + b"\x8c\x02\xff\xfe.",
}  # fmt: skip


@pytest.mark.parametrize("name", MALICIOUS)
def test_anything_else_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written into dlq.db, none of it runs or takes memory, and an error says why."""
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    with pytest.raises(UnsafePickleError) as refused:
        pickles.loads(MALICIOUS[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20
    assert str(refused.value)
    assert not list(tmp_path.iterdir())


def test_deep_nesting_is_refused_on_a_small_stack() -> None:
    """A thread with the stack that musl gives it refuses deep nesting and lives on."""
    deep = [name for name in MALICIOUS if "within each other" in name or "C stack" in name]
    script = (
        "import threading\n"
        "from tests.unit.test_pickles import MALICIOUS, pickles\n"
        "def load():\n"
        f"    for name in {deep!r}:\n"
        "        try:\n"
        "            repr(pickles.loads(MALICIOUS[name]))\n"
        "        except pickles.UnsafePickleError:\n"
        "            print('refused')\n"
        "threading.stack_size(128 << 10)\n"
        "thread = threading.Thread(target=load)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=False, timeout=60)
    assert (ran.returncode, ran.stdout.split()) == (0, [b"refused"] * len(deep)), ran.stderr


def test_the_malicious_pickles_are_malicious(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded with the standard unpickler, the malicious pickles of these tests do call something."""
    monkeypatch.chdir(tmp_path)
    for name in ("GLOBAL REDUCE", "os.system", "STACK_GLOBAL", "INST", "OBJ", "a call", "a call within"):
        pickle.loads(MALICIOUS[name])
        (tmp_path / MARKER).unlink()


def test_the_unpickler_refuses_globals_by_itself() -> None:
    """Even without the check of opcodes, the unpickler looks up no global."""
    for name in ("GLOBAL", "GLOBAL REDUCE", "os.system", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "a dataclass"):
        with pytest.raises(UnsafePickleError, match="names"):
            pickles._PlainUnpickler(io.BytesIO(MALICIOUS[name])).load()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pickletools on invalid escapes
@settings(max_examples=100)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda raw: PROTO + raw + b"."))
def test_random_bytes_are_refused_or_plain(raw: bytes) -> None:
    """Random bytes are read as plain data or raise the error that callers expect."""
    load_or_refuse(raw)


SMALL = pickles.dumps(asdict(JOB) | {"history": [asdict(JOB.history[0])], "changed": ["title"]})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@settings(max_examples=100)
@given(st.data())
def test_a_damaged_job_is_refused_or_plain(data: st.DataObject) -> None:
    """A stored job with some bytes changed, lost or added is refused or still plain data."""
    raw = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not raw:
            break
    load_or_refuse(bytes(raw))


def load_or_refuse(raw: bytes) -> None:
    """Loads the bytes; only plain data or the expected error may come out."""
    with contextlib.suppress(UnsafePickleError):
        assert plain(pickles.loads(raw))


def plain(value: object) -> bool:
    """Whether a value consists of types that run no code."""
    if isinstance(value, dict):
        return all(plain(key) and plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(plain(inner) for inner in value)
    return type(value) in {str, bytes, int, float, bool, type(None)}
