"""Texts that can be posted: what stays, what gets which pseudonym, and that nothing else comes through."""

from __future__ import annotations

import json
import re

import pytest

from stash_courier.plugin.text.pseudonyms import Pseudonyms
from stash_courier.queue.dead_letters.codec import stack_trace
from tests import ROOT


@pytest.fixture
def names() -> Pseudonyms:
    """Pseudonyms that know a scene, a host, a path and a secret."""
    made = Pseudonyms(ROOT, ["open sesame"])
    made.know("Anna's Big Day", made.of("scene", 17))
    made.know_host("nas.home.arpa:8096")
    made.know_path("/data/two words")
    return made


def test_a_trace_keeps_code_and_hides_the_rest(names: Pseudonyms) -> None:
    """Lines that are in the named file of ours, of Python or a package stay; messages and other code don't."""
    try:
        json.loads("nas.home.arpa")
    except ValueError as error:
        python = stack_trace(error).splitlines()
    ours = (ROOT / "worker/paths.py").read_text().splitlines()
    line, name = next((at, head[1]) for at, one in enumerate(ours, 1) if (head := re.match(r"def (\w+)\(", one)))
    text = [
        "Traceback (most recent call last):",
        f'  File "/home/joe/plugins/courier/worker/paths.py", line {line}, in {name}',
        f"    {ours[line - 1]}",
        f'  File "/home/joe/plugins/courier/worker/paths.py", line {line}, in annas_big_day',
        "    raise Annas(nas.home.arpa)",
        '  File "/home/joe/private/quix.py", line 5, in zarah_quix',
        "    zarah.quix(self._client)",
        *python[3:],  # without this file
        'ValueError: Zarah in "Anna\'s Big Day" of /data/two words/x.mkv at nas.home.arpa:8096, [open sesame]',
        "    zarah.quix(5)",
    ]
    found = "\n".join(names.trace("\n".join(text)))
    assert f'File "worker/paths.py", line {line}, in {name}\n{ours[line - 1]}' in found
    assert 'File "json/decoder.py", line' in found
    assert ", in raw_decode\n" in found
    assert "\nobj, end = self.scan_once(s, idx)\n" in found or "\nraise JSONDecodeError(" in found
    assert "scene-1" in found
    assert "host-1" in found
    for hidden in ("joe", "zarah", "quix", "annas", "arpa", "two words", "sesame"):
        assert hidden not in found.lower()


def test_our_own_sentences_stay(names: Pseudonyms) -> None:
    """A message keeps its words, our labels, numbers and HTTP's phrases."""
    said = (
        'nas.home.arpa:8096 answered 404 Not Found: it has nothing at this address; check "Address" and '
        '"Path map". It has 30 s, at 10:11:12.'
    )
    assert names.safe(said) == said.replace("nas.home.arpa:8096", "host-1")


def test_the_same_thing_has_the_same_pseudonym(names: Pseudonyms) -> None:
    """Scene by id and title, a path and its file's name, a host with and without a port."""
    said = names.safe(
        'Scene 17 is "ANNA\'S BIG DAY", found under /media/films/One day.mkv (in Stash D:\\films\\One day.mkv).'
    )
    assert said == 'scene-1 is "scene-1", found under /path-2/file-1 (in Stash \\path-3\\file-1).'
    assert names.safe("scene 18 under /media/films/two.mkv") == "scene-2 under /path-2/file-2"
    assert names.safe("http://NAS.home.arpa/x and nas.home.arpa") == "http://host-1/… and host-1"


@pytest.mark.parametrize(
    ("said", "safe"),
    [
        (r"\\server\My share\a b.mkv", "\\path-2\\file-1"),
        ("/data/two words/x.mkv", "/path-1/file-1"),
        ("/data/two words", "/path-1"),
        ("http://joe:pw@[2001:db8::17]:8096/web?key=abcdef is away", "http://host-2/… is …"),
        ("joe@mail.example.org", "…"),
        ("192.168.7.77:9000 and 2001:db8::17 and [fe80::1%eth0]:80", "host-2 and host-3 and host-4"),
        ("myserver:48096", "host-2"),
        ("jellyfin:48096 localhost", "jellyfin localhost"),
        ("token 0123456789abcdef0123456789abcdef", "token …"),
        ("Ünïcödé Sømeone 日本 🎬 “Anna”", "…"),
        ('Library "Secret films" or Zarah Quix', 'Library "…" or …'),
        ("2024 and 48096", "… and …"),
        ("open sesame", "[removed]"),
    ],
)
def test_what_looks_private_is_replaced(names: Pseudonyms, said: str, safe: str) -> None:
    """Paths of each system, addresses, tokens, and every word that isn't ours."""
    assert names.safe(said) == safe


def test_a_traceback_names_our_own_code(names: Pseudonyms) -> None:
    """Where the plugin is installed is private; which of its lines failed isn't."""
    said = "File \"/home/joe/plugins/stash_courier/worker/delivery/pool.py\", line 88, in run\nKeyError: 'Zarah'"
    assert names.safe(said) == "File \"worker/delivery/pool.py\", line 88, in run KeyError: '…'"


def test_an_answer_in_json_keeps_its_form(names: Pseudonyms) -> None:
    """Of another program's answer the usual words stay."""
    said = '{"error":"field title is too long","path":"/srv/Zarah Quix.mp4","Zarah":"Zarah Quix"}'
    safe = '{"error":"field title is too long","path":"/path-2/file-1","…":"…"}'
    assert names.safe(said, quotes=False) == safe
