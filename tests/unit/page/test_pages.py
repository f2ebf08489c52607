"""The status page as text: what is on it, that nothing that is written on it is an element, and what it may load."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.pages import HOSTILE, NOW, few, hostile, many, troubled
from mailtls.api.resource_view import ResourceView
from mailtls.page import site
from mailtls.page.frame import HEADERS, Board, Page, Reader
from mailtls.page.markup import camel, tag
from mailtls.page.overview import Search
from mailtls.page.style import DARK, LIGHT
from mailtls.reasons.explanations import EXPLANATIONS
from mailtls.reasons.reason import Reason

BOARD = Board(NOW)


class Elements(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


def parsed(html: str) -> Elements:
    """What is on a page, without its style sheet."""
    elements = Elements()
    elements.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return elements


def page(path: str, query: str = "", views: tuple[ResourceView, ...] | None = None, board: Board = BOARD) -> Page:
    """The page of an address."""
    wanted = site.address(path, query)
    assert wanted is not None
    return site.page(wanted, few() if views is None else views, board)


def rows(html: str) -> list[str]:
    """The names in the list, in their order."""
    return re.findall(r'<th scope="row" role="rowheader"><a href="[^"]+">([^<]+)</a>', html)


@pytest.mark.parametrize(
    ("path", "query"), [("/", ""), ("/", f"q={HOSTILE}&namespace={HOSTILE}"), ("/tenant/evil", "")]
)
def test_what_others_write_is_text_and_never_an_element(path: str, query: str) -> None:
    """Tenants write names, pods write banners: neither makes an element, an attribute, or turns the line round."""
    found = page(path, query, (hostile(),))
    elements = parsed(found.body)
    assert not {"script", "img", "iframe", "object", "base", "style"} & {name for name, _ in elements.tags}
    attributes = {name for _, given in elements.tags for name in given}
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert "\u202e" not in found.body
    assert "\x00" not in found.body
    assert "<script>alert(1)" in elements.text or query


@given(st.text())
def test_text_and_attribute_come_back_as_they_were(words: str) -> None:
    """All that is printable, in both places, whatever it is."""
    printable = "".join(each for each in words if each.isprintable())
    elements = parsed(tag("p", printable, title=printable))
    assert elements.text == printable
    assert elements.tags == [("p", {"title": printable})]
    assert parsed(camel(printable)).text == printable


def test_browser_may_load_one_style_sheet_and_run_nothing() -> None:
    """The policy names the hash of what is in the page, and nothing else; nobody keeps or frames it."""
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert HEADERS["Cache-Control"] == "no-store"
    links = [given.get("href") or "" for name, given in parsed(page("/mail/mx1").body).tags if name in {"a", "link"}]
    assert [each for each in links if ":" in each and not each.startswith("data:image/svg+xml,")] == []


def test_list_shows_trouble_first_and_what_ends_soon_among_it() -> None:
    """Also where a server is Ready whose certificate was not renewed in time."""
    assert rows(page("/").body) == ["archive", "imap", "mx1", "relay", "new", "submission", "mx2"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("order=name&state=good", ["imap", "mx2", "submission"]),
        ("order=expiry&namespace=team-b", ["archive", "submission", "new"]),
        ("q=DNSNOT+relay", ["relay"]),
        ("q=smtp.example.com", ["mx1"]),
        ("namespace=elsewhere", []),
        ("state=nonsense&order=nonsense&page=-1&q=mx2", ["mx2"]),
    ],
)
def test_list_is_filtered_and_sorted(query: str, names: list[str]) -> None:
    """By words in name, host and reason, by namespace and state; nonsense counts as not written."""
    assert rows(page("/", query).body) == names


def test_long_list_has_pages_that_together_show_each_server_once() -> None:
    """A page beyond the last is the last; links keep the search."""
    everything = many(120)
    seen = [rows(page("/", f"order=name&page={number}", everything).body) for number in (1, 2, 3)]
    assert sorted(name for part in seen for name in part) == sorted(view.key.name for view in everything)
    assert rows(page("/", "order=name&page=99", everything).body) == seen[2]
    links = [given.get("href") for _, given in parsed(page("/", "q=mx&page=2", everything).body).tags]
    assert "?q=mx" in links
    assert "?q=mx&page=3" in links
    assert "?q=mx&page=2&format=json" in links


def test_bars_and_words_say_how_long_a_certificate_lasts() -> None:
    """No colour and no picture is the only thing that says it."""
    text = parsed(page("/").body).text
    assert "✕ expired 3 days ago" in text
    assert "✕ 9 days left" in text
    assert "84 days left" in text
    bars = [
        given["width"] for name, given in parsed(page("/").body).tags if name == "rect" and given["class"] == "left"
    ]
    assert bars == ["0.0%", "10.0%", "93.3%", "83.3%", "93.3%"]


def test_story_names_stages_with_the_reason_and_what_to_do() -> None:
    """The explanation of docs/reference/reasons.md, once."""
    text = parsed(page("/mail/mx1").body).text
    known = EXPLANATIONS[Reason.SERVING_OLD_CERTIFICATE]
    assert text.count(known.fix) == 1
    assert "Served by every port: no" in text
    assert "a person has to act" in text
    assert "Certificate issued: yes" in text
    assert "TLS 1.1 is still accepted." in text
    assert EXPLANATIONS[Reason.LEGACY_TLS_ENABLED].fix in text
    assert text.index("All 3 pods have it.") < text.index("A certificate for mx1.example.com")
    assert "Next attempt: 2026-11-30 13:00 UTC" in parsed(page("/team-a/relay").body).text


def test_stage_that_failed_links_to_the_page_of_its_reason_where_the_installation_serves_it() -> None:
    """Nowhere else."""
    assert "More: " not in parsed(page("/mail/mx1").body).text
    html = page("/mail/mx1", views=(replace(troubled(), docs_url="https://docs.example.com/{page}/"),)).body
    links = {given["href"] for name, given in parsed(html).tags if name == "a" and "docs." in str(given["href"])}
    reasons = (Reason.SERVING_OLD_CERTIFICATE, Reason.LEGACY_TLS_ENABLED)
    assert links == {f"https://docs.example.com/reference/reasons/{reason}/" for reason in reasons}


def test_grid_says_what_each_port_of_each_pod_serves() -> None:
    """TLS version, how long, and whether it is another certificate than the stored one."""
    html = page("/mail/mx1").body
    cells = [parsed(each).text for each in re.findall(r'<td class="cell .*?</td>', html)]
    assert len(cells) == 12
    assert cells[0] == "✓ OKTLS 1.384 days left"
    assert cells[5] == "✕ ServingOldCertificateTLS 1.312 days leftanother certificate"


def test_only_so_much_of_a_status_is_shown() -> None:
    """One that was blown up costs a page that can still be read."""
    view = troubled()
    blown = replace(view, endpoints=view.endpoints * 500, names=view.names * 1000, served="9" * 100_000)
    assert len(page("/mail/mx1", views=(blown,)).body) < 100_000


def test_json_has_what_the_page_has() -> None:
    """The shape of `mailtls status --json`."""
    listed = json.loads(page("/", "state=bad&format=json").body)
    assert (listed["total"], listed["page"], listed["pages"]) == (2, 1, 1)
    assert [each["name"] for each in listed["resources"]] == ["mx1", "relay"]
    one = json.loads(page("/mail/mx1", "format=json").body)
    assert one == listed["resources"][0]
    assert one["endpoints"][5]["servedFingerprintSHA256"] == "cd" * 32
    assert page("/", "format=json").content_type == "application/json"


@pytest.mark.parametrize(
    "path", ["/mail", "/mail/mx1/more", "/mail/..", "/../etc/passwd", "/mail/mx%2f1", "/MAIL/MX", "//"]
)
def test_what_is_no_name_is_no_page(path: str) -> None:
    """Paths are compared with names; nothing is ever opened by them."""
    wanted = site.address(path, "")
    assert wanted is None or page(path).status == 404


def test_page_says_who_reads_and_since_when_nothing_was_heard() -> None:
    """A page that is not kept up to date must not look as if all were well."""
    fresh = parsed(page("/", board=Board(NOW, NOW - timedelta(minutes=1), Reader("ann", can_sign_out=True))).body)
    assert "ann" in fresh.text
    assert "silent" not in fresh.text
    assert "The API server is silent." in parsed(page("/", board=Board(NOW, NOW - timedelta(hours=1))).body).text


def test_search_that_is_too_much_is_none() -> None:
    """A query with very many fields, or a very long one."""
    assert Search.of("&".join(f"q{number}=1" for number in range(1000))) == Search()
    assert len(Search.of(f"q={'a' * 10_000}").words) == 253


def test_resource_without_any_status_has_a_page() -> None:
    """As it is in the first second of its life."""
    text = parsed(page("/team-b/new").body).text
    assert "The operator has not reported anything yet." in text
    assert "No port was probed yet." in text
    assert page("/mail/nobody").status == 404


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_contrast_with_what_is_behind_them(colours: dict[str, str]) -> None:
    """4.5 to 1 for text, 3 to 1 for the edges of what can be typed into and for bars."""
    for name in ("text", "muted", "link", "good", "warn", "bad", "calm"):
        for behind in ("page", "surface", *([f"{name}-soft"] if f"{name}-soft" in colours else [])):
            assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)
    assert contrast(colours["text"], colours["calm-soft"]) >= 4.5
    for name in ("good", "warn", "bad", "calm"):
        assert contrast(colours[name], colours["track"]) >= 3
    assert contrast(colours["edge"], colours["surface"]) >= 3
