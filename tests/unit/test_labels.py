"""Settings in sentences have the names on Stash's page."""

from __future__ import annotations

import pytest

from stash_courier.plugin.report import Report


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sweep_minutes must be", "«Sweep, minutes between two» must be"),
        ("check webhook_url, webhook_secret.", "check «Webhook, URL», «Webhook, signing secret»."),
        ("by path_map's rule", "by «Path map»'s rule"),
        ("(plex_libraries)", "(«Plex, libraries»)"),
        ("scene 5 «my sweep_off» and sweep_off", "scene 5 «my sweep_off» and «Sweep, switch off»"),
        ("/media/path_map/plex_url.mp4 path_map.mp4", "/media/path_map/plex_url.mp4 path_map.mp4"),
        ("my_plex_url plex_urls x=plex_url plex_url=x", "my_plex_url plex_urls x=«Plex, address» plex_url=x"),
    ],
)
def test_settings_are_called_as_on_the_page(text: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A setting's key is replaced by its name on Stash's page where it is a word; paths and titles stay."""
    said_by = Report()
    said_by.say(text)
    assert said_by.lines == [said]
    assert capfd.readouterr().err == f"\x01i\x02{said}\n"
