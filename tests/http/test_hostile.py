"""Bytes that no honest sender sends: none makes a 5xx, none keeps an honest client waiting, none fills the memory."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from datetime import timedelta

from bridge.receive import LARGE, LARGE_AT_ONCE
from tests.http.conftest import Open
from tests.http.wire import SECRET, Answer, Client, Wire, github

POST = b"POST /webhooks/github HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: b\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

BROKEN = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "HTTP/2 unasked": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two hosts": LIVE + b"Host: a\r\n\r\n",
    "200 headers": LIVE + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
    "a header of 9 kB": LIVE + b"X: " + b"a" * 9_000 + b"\r\n\r\n",
    "a path of 9 kB": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: b\r\n\r\n",
    "NUL in a header": LIVE + b"X: a\0b\r\n\r\n",
    "bare line feeds": b"GET /health/live HTTP/1.1\nHost: b\n\n",
    "a folded header": LIVE + b"X: a\r\n b\r\n\r\n",
    "a space before the colon": LIVE + b"X : a\r\n\r\n",
    "a strange method": b"FOO<> /health/live HTTP/1.1\r\nHost: b\r\n\r\n",
    "an endless method": b"A" * 300 + b" /health/live HTTP/1.1\r\nHost: b\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: b\r\n\r\n",
    "a relative path": b"GET health/live HTTP/1.1\r\nHost: b\r\n\r\n",
    "a path that is no UTF-8": b"POST /webhooks/\xff\xfe HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
    "an address with a broken host": b"GET http://[::1 HTTP/1.1\r\nHost: b\r\n\r\n",
    "an address with a broken port": b"GET http://a:99999999/ HTTP/1.1\r\nHost: b\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two transfer encodings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "an unknown transfer encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}a",
    "a length with a plus": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length of 400 digits": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n{}",
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551616\r\n\r\n{}",
    "a chunk without a size": CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"\r\n2\r\n{}xx0\r\n\r\n",
    "a negative chunk": CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"\r\nFFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
}

ODD = {
    "HTTP/0.9": (b"GET /health/live\r\n\r\n", 200),
    "HTTP/1.0": (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
    "HTTP/1.0 with a body": (POST.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}", 401),
    "no length": (POST + b"\r\n", 401),
    "a chunk extension and a trailer": (CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", 401),
    "an upgrade nobody offers": (
        POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
        401,
    ),
    "an absolute address": (b"GET http://evil.example/health/live HTTP/1.1\r\nHost: b\r\n\r\n", 200),
    "a host that is none": (b"GET /health/live HTTP/1.1\r\nHost: [\xff\r\n\r\n", 200),
    "an unknown expectation": (POST + b"Expect: coffee\r\nContent-Length: 2\r\n\r\n{}", 417),
    "an unknown expectation on no route": (b"GET /x HTTP/1.1\r\nHost: b\r\nExpect: coffee\r\n\r\n", 417),
    "an expectation that is no UTF-8": (POST + b"Expect: \x80\r\nContent-Length: 2\r\n\r\n{}", 417),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", 404),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: b\r\n\r\n", 404),
    "another host in the path": (b"GET //[x/health/live HTTP/1.1\r\nHost: b\r\n\r\n", 404),
    "NUL in the path": (b"POST /webhooks/%00 HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 404),
    "a path upwards": (b"POST /webhooks/../metrics HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 404),
    "a path upwards, escaped": (b"POST /webhooks/..%2fmetrics HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 404),
    "a broken escape": (b"POST /webhooks/%zz%f HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 404),
    "a lone surrogate in the path": (b"POST /webhooks/%ed%a0%80 HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 404),
    "a source of 8,000 letters": (b"POST /webhooks/" + b"a" * 8_000 + b" HTTP/1.1\r\nHost: b\r\n\r\n", 404),
    "a query of nonsense": (b"GET /metrics?a=%ff&b[]=%zz&name[]=x HTTP/1.1\r\nHost: b\r\n\r\n", 200),
    "metrics of an odd version": (
        b"GET /metrics HTTP/1.1\r\nHost: b\r\nAccept: application/openmetrics-text; version=x.y\r\n\r\n",
        200,
    ),
    "metrics of a strange version": (
        b"GET /metrics HTTP/1.1\r\nHost: b\r\nAccept: text/plain; version=1.\xc3\xa9\r\n\r\n",
        200,
    ),
    "an encoding of nonsense": (b"GET /metrics HTTP/1.1\r\nHost: b\r\nAccept-Encoding: \xff, br\r\n\r\n", 200),
}

PAGE = {
    "cookies of nonsense": b'GET / HTTP/1.1\r\nHost: b\r\nCookie: bridge="\xff; ;;= ; __Host-bridge=1.\xff\r\n\r\n',
    "a token of nonsense": b"GET / HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer \xff\xe9\r\n\r\n",
    "the stream, unasked": b"GET /live HTTP/1.1\r\nHost: b\r\nAuthorization: Basic \xff\r\n\r\n",
    "a broken origin": b"POST /login HTTP/1.1\r\nHost: [\r\nOrigin: http://[\r\nContent-Length: 9\r\n\r\ntoken=%ff",
    "a form in broken chunks": b"POST /login HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a form too long": b"POST /login HTTP/1.1\r\nHost: b\r\nContent-Length: 9000\r\n\r\n" + b"a" * 9_000,
    "a form of many fields": b"POST /login HTTP/1.1\r\nHost: b\r\nContent-Length: 2000\r\n\r\n" + b"a&" * 1_000,
    "no such file": b"GET /static/%00 HTTP/1.1\r\nHost: b\r\n\r\n",
    "a file upwards": b"GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: b\r\n\r\n",
}


async def answered(client: Client, data: bytes) -> Answer:
    answer = await client.raw(data)
    assert answer is not None, data[:100]
    return answer


async def honest(client: Client) -> None:
    """An honest client is answered, and soon."""
    async with asyncio.timeout(1):
        assert (await client.get("/health/live")).status == 200
        assert (await client.post(github())).status == 202


async def test_broken_http_is_400_in_our_form_and_quotes_nothing(client: Client) -> None:
    for name, data in BROKEN.items():
        wire = await client.wire()
        await wire.send(data)
        assert (await _next(wire)).problem == (400, "this is no HTTP that bridge understands"), name
        assert await wire.closed(), name
    await honest(client)


async def test_odd_http_gets_the_answer_of_its_route(client: Client) -> None:
    for name, (data, status) in ODD.items():
        answer = await answered(client, data)
        assert answer.status == status, name
        assert status < 400 or answer.problem, name
    await honest(client)


async def test_the_page_takes_no_harm_from_nonsense(open_bridge: Open) -> None:
    client = await open_bridge(token="the-token-of-the-admin")
    for name, data in PAGE.items():
        answer = await answered(client, data)
        assert 400 <= answer.status < 500, name
    await honest(client)


async def test_an_expected_continue_is_given_and_the_event_taken(client: Client) -> None:
    body = github()
    wire = await client.wire()
    await wire.send(_post(client, body, Expect="100-continue"))
    assert (await _next(wire)).status == 100
    await wire.send(body)
    assert (await _next(wire)).status == 202


async def test_chunks_are_put_together(client: Client) -> None:
    body = github()
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in client.signed(body).items()).encode()
    head = b"POST /webhooks/github HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n" + lines + b"\r\n"
    assert (await answered(client, head + chunks)).status == 202


async def test_requests_in_a_row_on_one_connection_are_answered_in_their_order(client: Client) -> None:
    wire = await client.wire()
    bodies = [github(), b"[", github("ping.hook")]
    requests = b"".join(_post(client, body) + body for body in bodies)
    await wire.send(LIVE + b"\r\n" + requests + b"GET /x HTTP/1.1\r\nHost: b\r\n\r\n")
    said = [await _next(wire) for _ in range(5)]
    assert [answer.status for answer in said] == [200, 202, 202, 200, 404]
    assert [answer.json["status"] for answer in said] == ["live", "accepted", "unreadable", "ignored", 404]


async def test_a_second_request_hidden_in_a_body_is_not_answered(client: Client) -> None:
    hidden = b"GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n"
    wire = await client.wire()
    await wire.send(POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(hidden) + hidden)
    assert (await _next(wire)).status == 401
    assert await wire.closed()


async def test_of_a_signature_sent_twice_the_first_counts(client: Client) -> None:
    body = github()
    right = client.signed(body)["X-Hub-Signature-256"].encode()
    wrong = b"sha256=" + b"0" * 64
    for first, second, status in ((right, wrong, 202), (wrong, right, 401)):
        both = b"X-Hub-Signature-256: %s\r\nX-Hub-Signature-256: %s\r\n" % (first, second)
        named = b"X-GitHub-Event: workflow_run\r\nX-GitHub-Delivery: a-%d\r\n" % status
        answer = await answered(client, POST + named + both + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert answer.status == status


async def test_no_header_breaks_out_into_the_answer(client: Client) -> None:
    odd = 'x\u00ff\u0085y; a=b, "c" <d>'
    answer = await client.post(github(), X_GitHub_Event=odd, X_GitHub_Delivery=odd, X_Request_Id=odd, User_Agent=odd)
    assert (answer.status, answer.json["status"]) == (200, "ignored")
    assert set(answer.headers) <= {"content-type", "content-length", "date", "server", "connection"}


async def test_a_body_that_stops_half_way_harms_nobody(client: Client) -> None:
    for ending in ("half closed", "closed", "reset"):
        wire = await client.wire()
        await wire.send(POST + b"Content-Length: 1000\r\n\r\n{")
        if ending == "half closed":
            wire.writer.write_eof()
        elif ending == "closed":
            await wire.close()
        else:
            _reset(wire)
    await honest(client)


async def test_a_client_that_reads_no_answers_harms_nobody(client: Client) -> None:
    wire = await client.wire()
    await wire.send((b"GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n") * 500)
    await honest(client)


async def test_headers_that_never_end_are_cut(open_bridge: Open) -> None:
    client = await open_bridge(headers_within=timedelta(seconds=0.1))
    silent, dripping = await client.wire(), await client.wire()
    await dripping.send(POST)
    assert await silent.closed()
    assert await dripping.closed()
    await honest(client)


async def test_bodies_that_drip_are_cut_and_keep_nobody_waiting(open_bridge: Open) -> None:
    client = await open_bridge(read_within=timedelta(seconds=0.3))
    wires = [await client.wire() for _ in range(200)]
    for wire in wires:
        await wire.send(POST + b"Content-Length: 60000\r\n\r\n{")
    await honest(client)
    answers = await asyncio.gather(*(_next(wire) for wire in wires))
    assert {answer.problem[0] for answer in answers} == {408}
    await honest(client)


async def test_large_bodies_wait_for_their_turn_and_small_ones_do_not(open_bridge: Open) -> None:
    client = await open_bridge(max_body=4 * LARGE)
    wires = [await client.wire() for _ in range(LARGE_AT_ONCE)]
    for wire in wires:
        await wire.send(POST + b"Content-Length: %d\r\n\r\n" % (3 * LARGE) + b" " * 2 * LARGE)
    late = await client.wire()
    await late.send(POST + b"Content-Length: %d\r\n\r\n" % (2 * LARGE) + b" " * 2 * LARGE)
    answer = asyncio.create_task(_next(late))
    await honest(client)
    assert not answer.done()
    await wires[0].close()
    assert (await answer).status == 401


async def test_a_large_signed_body_is_taken(open_bridge: Open) -> None:
    client = await open_bridge(max_body=4 * LARGE)
    body = github().rstrip()[:-1] + b', "more": "' + b"x" * 3 * LARGE + b'"}'
    assert (await client.post(body, X_GitHub_Event="workflow_run")).status == 202


async def test_26_mebibytes_are_refused_and_not_kept_in_memory(open_bridge: Open) -> None:
    client = await open_bridge(max_body=25 * 1024 * 1024)
    size = 26 * 1024 * 1024
    before = _peak()
    by_length = await client.raw(POST + b"Content-Length: %d\r\n\r\n" % size + b" " * 100_000)
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    wire = await client.wire()
    await wire.send(CHUNKED + b"\r\n")
    for _ in range(26):
        await wire.send(chunk)
    in_chunks = await _next(wire)
    assert by_length is not None
    assert (by_length.problem[0], in_chunks.problem[0]) == (413, 413)
    assert _peak() - before < 100, "MiB more, with both ends in one process"
    await honest(client)


async def test_a_compressed_bomb_is_refused_unread(client: Client) -> None:
    wire = await client.wire()
    await wire.send(POST + b"Content-Encoding: gzip\r\nContent-Length: 20000000\r\n\r\n" + b"\x1f\x8b" * 10_000)
    assert (await _next(wire)).problem[0] == 415
    await honest(client)


# -- the tools of this file --------------------------------------------------------------------------------------------


def _post(client: Client, body: bytes, **more: str) -> bytes:
    event = {} if body.startswith(b"{") else {"X-GitHub-Event": "push"}
    headers = {"Host": "b", "Content-Length": str(len(body))} | client.signed(body, secret=SECRET) | event | more
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /webhooks/github HTTP/1.1\r\n{lines}\r\n".encode()


async def _next(wire: Wire) -> Answer:
    answer = await wire.answer()
    assert answer is not None
    return answer


def _reset(wire: Wire) -> None:
    """Close with a reset instead of a farewell."""
    raw = wire.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.writer.transport.abort()


def _peak() -> float:
    """The most memory that this process has used, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
