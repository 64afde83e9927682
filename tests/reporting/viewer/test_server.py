"""Tests of the viewer's server: what it answers, and to whom."""

import gzip
import http.client
import json
import socket
from threading import Thread

import numpy as np
import pytest

from crossview.core.errors import UserError, fail
from crossview.reporting.viewer.gallery import Gallery, Listed
from crossview.reporting.viewer.grid import Grid
from crossview.reporting.viewer.layers import opened
from crossview.reporting.viewer.server import STATIC, Server


def one_case():
    label = np.zeros((4, 5, 6), np.uint8)
    label[1:3, 2, 3] = 1
    return opened(Grid.of(label.shape), label[None].astype(np.float32), label, label)


def damaged():
    fail("the file is damaged", "b.nii.gz")


@pytest.fixture(scope="module")
def server():
    cases = (Listed("a", one_case, 0.5, "Dice 50.00 %"), Listed("b", damaged))
    with Server(Gallery("CML on folder", "2 cases", "worst Dice first", cases)) as made:
        Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def ask(server, path, method="GET", **headers):
    """Return status, headers and unpacked content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    packed = answer.headers.get("Content-Encoding") == "gzip" and content
    return answer.status, answer.headers, gzip.decompress(content) if packed else content


def test_all_listed_addresses_are_answered(server):
    for name in STATIC:
        assert ask(server, f"/{server.token}/{name}")[0] == 200
    status, headers, page = ask(server, f"/{server.token}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<canvas" in page
    gallery = json.loads(ask(server, f"/{server.token}/gallery.json")[2])
    assert [case["name"] for case in gallery["cases"]] == ["a", "b"]
    facts = json.loads(ask(server, f"/{server.token}/0.json")[2])
    assert [layer["name"] for layer in facts["layers"]] == ["scan", "label", "prediction", "errors"]
    volume = ask(server, f"/{server.token}/0/1.nii")[2]
    assert volume[344:348] == b"n+1\0"


def test_the_page_is_told_how_far_a_prediction_is(server):
    server.gallery.opened(0)
    server.gallery.waiting.start(0)
    server.gallery.waiting(3, 8)
    told = json.loads(ask(server, f"/{server.token}/progress.json")[2])
    assert told == {"index": 0, "done": 3, "total": 8}


def test_a_case_that_cannot_be_read_says_why(server):
    assert "the file is damaged" in json.loads(ask(server, f"/{server.token}/1.json")[2])["error"]
    assert ask(server, f"/{server.token}/1/0.nii")[0] == 404


@pytest.mark.parametrize(
    "rest",
    [
        "../server.py",
        "..%2Fserver.py",
        "LICENSES.txt",
        "viewer.html",
        "2.json",
        "-1.json",
        "00000000000.json",
        "0/4.nii",
        "0/-1.nii",
        "0/1.nii?",
        "0.json#",
        "gallery.json/",
        "//etc/passwd",
        "/etc/passwd",
    ],
)
def test_anything_else_is_missing(server, rest):
    status, _, content = ask(server, f"/{server.token}/{rest}")
    assert status == 404
    assert b"Nothing is shown here" in content


def test_without_the_token_everything_is_missing(server):
    wrong = server.token[:-1] + ("a" if server.token[-1] != "a" else "b")
    addresses = [
        f"/{token}/{name}"
        for token in ("", wrong, server.token.upper() + "x", f"{server.token}x")
        for name in ("", "gallery.json", "0.json", "niivue.umd.js")
    ]
    for path in [*addresses, "/", f"/{server.token}", f"x/{server.token}/", "*"]:
        assert ask(server, path)[0] == 404, path
    assert server.answer(f"/\xe9{server.token}/") is None
    assert server.answer(f"/{server.token}/\u0660.json") is None  # a digit of another script


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9999", 200),  # forwarded by ssh from another port
        ("evil.example", 404),
        ("127.0.0.1.evil.example", 404),
        ("localhost.evil.example:80", 404),
        ("", 404),
    ],
)
def test_another_name_for_this_machine_is_refused(server, host, status):
    assert ask(server, f"/{server.token}/gallery.json", Host=host)[0] == status


def test_only_this_machine_is_served_and_nothing_can_be_sent(server):
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, f"/{server.token}/0.json", "POST")[0] == 501
    status, headers, content = ask(server, f"/{server.token}/", "HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


def test_tokens_differ_and_are_long(server):
    with Server(server.gallery) as other:
        assert other.token != server.token
        assert len(other.token) >= 22  # 128 bits and more


def test_a_port_in_use_is_named_with_its_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="can't use this port") as error:
            Server(Gallery("", "", "", ()), port)
    assert f"--port {port}" in str(error.value)
    assert "leave it out" in str(error.value)
