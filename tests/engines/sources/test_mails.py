"""Mails from mailboxes, plain text and tables: every one is read or quarantined with a reason, and the counts add up."""

import json
import mailbox
import os
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.engines.base.errors import StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.mail import mail_inputs, read_mails
from components.engines.sources.message import MAX_BODY_BYTES
from components.engines.sources.text import AS_FOUND, Reading, TextLayout


def read(source, **options):
    """(mails, reasons of what was left out)."""
    funnel, bad = Funnel(), []
    options = {"fields": {}, "reading": AS_FOUND} | options
    mails = list(read_mails(str(source), funnel=funnel, on_bad=bad.append, **options))
    assert len(bad) == sum(funnel.quarantined.values()) == funnel.seen
    return mails, [one["reason"] for one in bad]


def mail(body="Hello there", subject="Plan", kind="plain", **head):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Anna <anna@example.com>", "ben@example.com", subject
    for name, value in head.items():
        made[name] = value
    made.set_content(body, subtype=kind)
    return made


def eml(folder, data, name="one.eml"):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.as_bytes())
    return folder / name


def test_head_and_text_are_decoded_and_attachments_are_counted_not_read(tmp_path):
    one = mail("Grüße aus Köln", "Größe 猫")
    one.add_attachment(b"\0\1", maintype="application", subtype="pdf", filename="x.pdf")
    one.add_attachment("text that is attached", filename="notes.txt")
    mails, bad = read(eml(tmp_path, one))
    assert bad == []
    assert mails[0]["body"].strip() == "Grüße aus Köln"
    assert mails[0]["subject"] == "Größe 猫"
    assert mails[0]["sender"] == "Anna <anna@example.com>"
    assert mails[0]["attachments"] == 2


def test_html_is_read_only_where_there_is_no_plain_text(tmp_path):
    html = "<style>p{}</style><p>Dear&nbsp;Ben,</p><div>see <b>you</b><br>soon</div><blockquote>old &lt;text&gt;</blockquote>"
    mails, _ = read(eml(tmp_path, mail(html, kind="html")))
    assert [line for line in mails[0]["body"].split("\n") if line] == ["Dear Ben,", "see you", "soon", "> old <text>"]
    both = mail("the plain one")
    both.add_alternative(html, subtype="html")
    assert read(eml(tmp_path, both))[0][0]["body"].strip() == "the plain one"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"From: a@example.com\nContent-Type: text/plain; charset=x-nobody\n\nHello", "unknown charset"),
        (b"From: a@example.com\nContent-Type: text/plain; charset=rot13\n\nHello", "unknown charset"),
        (b"From: a@example.com\nContent-Type: text/plain; charset=utf-8\n\n\xff\xfe\xff", "broken text"),
        (b"From: a@example.com\n\nGr\xfc\xdfe", "broken text"),
        (b"From: a@example.com\nSubject: nothing\n\n   \n", "no body"),
        (b"From: a@example.com\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA", "no body"),
        (b"\x89PNG and so on", "not a mail"),
        (b"", "not a mail"),
        (b"From: a@example.com\n\n" + b"word " * (MAX_BODY_BYTES // 5 + 1), "body too long"),
    ],
)
def test_what_cannot_be_used_is_quarantined_with_a_reason(tmp_path, data, reason):
    eml(tmp_path, mail(), "good.eml")
    eml(tmp_path, data, "bad.eml")
    mails, bad = read(tmp_path)
    assert (len(mails), bad) == (1, [reason])


def test_broken_mime_is_read_as_far_as_it_goes(tmp_path):
    cut = b"From: a@example.com\nContent-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: text/plain\n\nStill here\n"
    assert read(eml(tmp_path, cut))[0][0]["body"].strip() == "Still here"
    base64 = b"From: a@example.com\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGVsbG8*$\n"
    assert read(eml(tmp_path, base64))[0][0]["body"].startswith("Hello")


@pytest.mark.parametrize("depth", [30, 3_000])
def test_parts_within_parts_without_end_are_refused(tmp_path, depth):
    heads = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    _, bad = read(eml(tmp_path, b"From: a@example.com\n" + heads + b"\nHello"))
    assert bad == ["nested too deeply"]


def test_an_encoding_is_never_guessed_but_may_be_said(tmp_path):
    source = eml(tmp_path, b"From: a@example.com\n\nGr\xfc\xdfe")
    mails, _ = read(source, reading=Reading(TextLayout(encoding="cp1252")))
    assert mails[0]["body"] == "Grüße"


def test_an_empty_mailbox_and_a_folder_that_is_no_maildir_are_one_clear_error(tmp_path):
    (tmp_path / "empty.mbox").write_bytes(b"")
    with pytest.raises(StageError, match="holds no mails"):
        read(tmp_path / "empty.mbox")
    with pytest.raises(UsageError, match="no maildir"):
        read(tmp_path, format="maildir")


def test_links_out_of_a_maildir_and_what_is_no_file_are_refused(tmp_path):
    box = mailbox.Maildir(tmp_path / "box")
    box.add(mail("inside"))
    secret = eml(tmp_path, mail("secret"))
    (tmp_path / "box/cur/link").symlink_to(secret)
    (tmp_path / "box/cur/gone").symlink_to(tmp_path / "box/cur/nowhere")
    os.mkfifo(tmp_path / "box/new/pipe")
    mails, bad = read(tmp_path / "box")
    assert [one["body"].strip() for one in mails] == ["inside"]
    assert bad == ["unsafe path"] * 3


def test_a_link_out_of_a_folder_of_mails_is_refused(tmp_path):
    secret = eml(tmp_path, mail("secret"), "secret.eml")
    (tmp_path / "box").mkdir()
    eml(tmp_path / "box", mail("inside"))
    (tmp_path / "box/link.eml").symlink_to(secret)
    mails, bad = read(tmp_path / "box")
    assert (len(mails), bad) == (1, ["unsafe path"])


def test_text_files_are_mails_or_paragraphs(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n\nthree\n")
    assert [one["body"] for one in read(tmp_path / "a.txt")[0]] == ["one\ntwo\n\n\nthree\n"]
    assert [one["body"].strip() for one in read(tmp_path / "a.txt", text_unit="paragraph")[0]] == ["one\ntwo", "three"]


def test_tables_are_read_by_our_names_for_their_columns(tmp_path):
    rows = [{"text": "Hello", "from": ["a@example.com", "b@example.com"]}, {"text": None, "from": "x"}]
    rows += [{"text": "Bye", "from": None}, {"text": " ", "from": "x"}, {"text": 5, "from": "x"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mails, bad = read(tmp_path / "a.jsonl", fields={"body": "text", "sender": "from"})
    assert mails == [{"body": "Hello", "sender": "a@example.com, b@example.com"}, {"body": "Bye", "sender": ""}]
    assert bad == ["missing field", "no body", "no text"]


def test_every_file_that_is_read_is_an_input(tmp_path):
    box = mailbox.Maildir(tmp_path / "box")
    box.add(mail())
    box.add_folder("Sent").add(mail())
    assert len(mail_inputs("box", None, tmp_path)) == len(read(tmp_path / "box")[0]) == 2
    eml(tmp_path, mail())
    assert [one.name for one in mail_inputs("one.eml", None, tmp_path)] == ["one.eml"]


bodies = st.lists(st.sampled_from(["Hello", "From here on", "From a@b Mon 10:00", "", "Grüße", "=20", "."]), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(written=st.lists(bodies.map("\n".join), min_size=1, max_size=6), kind=st.sampled_from(["mbox", "maildir"]))
def test_random_mailboxes_are_read_as_the_standard_library_wrote_them(tmp_path_factory, written, kind):
    place = Path(tmp_path_factory.mktemp("any")) / f"box.{kind}"
    box = mailbox.mbox(place) if kind == "mbox" else mailbox.Maildir(place)
    for body in written:
        box.add(mail(body))
    box.close()
    mails, bad = read(place)
    expected = [body.strip() for body in written if body.strip()]
    found = [one["body"].strip() for one in mails]
    assert bad == ["no body"] * (len(written) - len(expected))
    assert (found if kind == "mbox" else sorted(found)) == (expected if kind == "mbox" else sorted(expected))
