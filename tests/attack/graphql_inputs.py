"""Attacks on GraphQL over HTTP: bodies, documents, variables, event streams."""

import json

from tests.attack.attacks import Attack, asking, attack, getting, saying
from tests.attack.peers import request

TYPENAME = "{ __typename }"
ASKED = b'{"query":"{ __typename }"}'

REFUSED = (200, 400)
"""A request that cannot run is 200 to a client that wants application/json, and 400 to others."""

SAID_TWICE = b'{"query":"{ nothing }","query":"{ __typename }"}'


def numbered(form: str, count: int) -> str:
    return " ".join(form.format(number, number + 1) for number in range(count))


def fragments(levels: int, spreads: int) -> str:
    """A document that is as large as `spreads` to the power of `levels` when it is spread out."""
    return (
        "{ ...F0 } "
        + numbered("fragment F{0} on Query {{ " + "...F{1} " * spreads + "}}", levels)
        + f" fragment F{levels} on Query {{ __typename }}"
    )


BODIES = [
    attack(
        f"a body of type {content_type.decode('latin-1')[:40]!r}",
        saying(content, b"Content-Type: " + content_type),
        415,
    )
    for content_type, content in {
        b"": ASKED,
        b"text/plain": ASKED,
        b"text/plain;application/json": ASKED,
        b"application/graphql": b"{ __typename }",
        b"application/x-www-form-urlencoded": b"query=%7B__typename%7D",
        b"application/xml": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b"application/x-yaml": b'!!python/object/apply:os.system ["id"]',
        b"application/python-pickle": b"cos\nsystem\n(S'id'\ntR.",
        b"application/json; charset=utf-16": ASKED.decode().encode("utf-16"),
        b"application/json; charset=utf-7": b"+AHsAIg-query",
        b"application/json; charset=ebcdic-cp-us": ASKED.decode().encode("cp037"),
        b"application/json; charset=" + b"x" * 20_000: ASKED,
        b"application/json\xff": ASKED,
        b"multipart/form-data": ASKED,
        b"multipart/form-data; boundary=": b"--\r\n",
    }.items()
] + [
    attack(
        "a file by multipart",
        saying(
            b'--x\r\nContent-Disposition: form-data; name="operations"\r\n\r\n{"query":"{ __typename }"}\r\n'
            b'--x\r\nContent-Disposition: form-data; name="map"\r\n\r\n{"0":["variables.a"]}\r\n'
            b'--x\r\nContent-Disposition: form-data; name="0"; filename="../../etc/passwd"\r\n\r\nx\r\n--x--\r\n',
            b"Content-Type: multipart/form-data; boundary=x",
        ),
        415,
    ),
    attack(
        "a type said twice",
        saying(ASKED, b"Content-Type: text/plain", b"Content-Type: application/json"),
        200,
        400,
        415,
    ),
    *(
        attack(f"{name}, for a body", saying(content), 400)
        for name, content in {
            "nothing": b"",
            "a null byte": b"\0",
            "null": b"null",
            "a list": b"[]",
            "a batch of two": b"[" + ASKED + b"," + ASKED + b"]",
            "a batch of 10,000": b"[" + b",".join([ASKED] * 10_000) + b"]",
            "NaN": b"NaN",
            "a byte order mark": b"\xef\xbb\xbf" + ASKED,
            "UTF-16": ASKED.decode().encode("utf-16"),
            "UTF-32": ASKED.decode().encode("utf-32-be"),
            "UTF-7": b'+AHsAIgBxAHUAZQByAHkAIgA6-"{ a }"}',
            "Latin-1": '{"query":"{ \u00e4 }"}'.encode("latin-1"),
            "too long UTF-8": b'{"query":"\xc0\xa2"}',
            "a surrogate in UTF-8": b'{"query":"\xed\xa0\x80"}',
            "no end": b'{"query":"',
            "two values": ASKED + ASKED,
            "a comment": b"/**/" + ASKED,
            "single quotes": b"{'query':'{ __typename }'}",
            "a raw line break in a text": b'{"query":"{\n__typename }"}',
            "an escape that is none": b'{"query":"\\x41"}',
            "half an escape": b'{"query":"\\u12"}',
            "100,000 lists": b"[" * 100_000,
            "100,000 objects": b'{"a":' * 100_000,
            "500,000 lists and their ends": b"[" * 500_000 + b"]" * 500_000,
            "a number of 100,000 digits": b'{"query":"{ __typename }","variables":{"a":'
            + b"9" * 100_000
            + b"}}",
            "Infinity among the variables": b'{"query":"{ __typename }","variables":{"a":-Infinity}}',
            "a query that is a number": b'{"query":1e400}',
            "a query that is an object": b'{"query":{"$gt":""}}',
            "variables that are a list": b'{"query":"{ __typename }","variables":[{}]}',
            "variables as a text": b'{"query":"{ __typename }","variables":"{}"}',
            "an operation name that is a list": b'{"query":"{ __typename }","operationName":["a"]}',
            "extensions that are a number": b'{"query":"{ __typename }","extensions":1}',
            "no query, but a prototype": b'{"__proto__":{"query":"{ __typename }"},"constructor":{"query":"{ a }"}}',
        }.items()
    ),
    attack(
        "a query that is only a hash",
        saying(
            b'{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"' + b"0" * 64 + b'"}}}'
        ),
        *REFUSED,
    ),
    attack("a key said twice", saying(SAID_TWICE), 200),
    attack(
        "100,000 keys",
        saying(
            b'{"query":"{ __typename }","variables":{'
            + b",".join(b'"a%d":1' % n for n in range(100_000))
            + b"}}"
        ),
        200,
        400,
    ),
    attack(
        "100,000 keys of one hash",
        saying(
            b'{"query":"{ __typename }","variables":{"a":{'
            + b",".join(b'"%d":1' % (n * (2**61 - 1)) for n in range(50_000))
            + b"}}}"
        ),
        200,
        400,
    ),
    attack(
        "a number as large as can be",
        asking(TYPENAME, variables={"a": 1.7976931348623157e308}),
        200,
    ),
    attack(
        "a number too large",
        saying(b'{"query":"{ __typename }","variables":{"a":1e999999999}}'),
        200,
        400,
    ),
    attack(
        "a number too small",
        saying(b'{"query":"{ __typename }","variables":{"a":1e-999999999}}'),
        200,
        400,
    ),
    attack(
        "a lone surrogate among the variables",
        saying(
            b'{"query":"query ($a: ID!) { message(id: $a) { id } }","variables":{"a":"\\ud800"}}'
        ),
        200,
    ),
    attack(
        "a null byte among the variables",
        asking("query ($a: ID!) { message(id: $a) { id } }", variables={"a": "a\0b"}),
        200,
    ),
    attack(
        "variables of the prototype",
        asking(
            TYPENAME, variables={"__proto__": {"admin": True}, "constructor": {"prototype": {}}}
        ),
        200,
    ),
]

DOCUMENTS = [
    attack(f"{name}, for a document", asking(query), *REFUSED)
    for name, query in {
        "an empty document": "",
        "blanks": " \n\t,,,",
        "a comment": "# nothing",
        "a comment of 2 MB": "#" + "x" * 2_000_000,
        "100,000 comments": "#\n" * 100_000,
        "commas of 1 MB": "," * 1_000_000,
        "a byte order mark": "\ufeff{ __typename }",
        "1,000 byte order marks": "\ufeff" * 1_000 + TYPENAME,
        "a null byte": "{ __typename \0}",
        "a lone surrogate": "{ \ud800 }",
        "a lone surrogate in a string": '{ message(id: "\ud800") { id } }',
        "an escaped lone surrogate": '{ message(id: "\\ud800") { id } }',
        "an escaped code point that is none": '{ message(id: "\\u{110000}") { id } }',
        "an escaped code point of 10,000 digits": '{ message(id: "\\u{'
        + "1" * 10_000
        + '}") { id } }',
        "a string without end": '{ message(id: "',
        "a block string without end": '{ message(id: """',
        "10,000 quotes": '"' * 10_000,
        "a block string of 1 MB": '{ message(id: """' + "\n " * 500_000 + '""") { id } }',
        "an id of 1 MB": '{ message(id: "' + "x" * 1_000_000 + '") { id } }',
        "a name of 1 MB": "{ " + "x" * 1_000_000 + " }",
        "an id that is a number of 10,000 digits": "{ message(id: " + "1" * 10_000 + ") { id } }",
        "an empty id": '{ message(id: "") { id } }',
        "an id of line breaks": '{ message(id: "a\\r\\nb") { id } }',
        "an id of direction marks": '{ message(id: "\u202e\u2066\u200b") { id } }',
        "SQL for an id": '{ message(id: "\' OR 1=1; DROP TABLE messages; --") { id } }',
        "a Redis command for an id": '{ message(id: "*\\r\\nFLUSHALL\\r\\n") { id } }',
        "a path for an id": '{ messages(conversationId: "../../etc/passwd") { id } }',
        "a template for an id": '{ message(id: "{{7*7}}${7*7}<%=7*7%>%s%n{0}") { id } }',
        "a script for an id": '{ message(id: "<script>alert(1)</script>") { id } }',
        "a prototype for an id": '{ message(id: "__proto__") { id } messages(conversationId: "constructor") { id } }',
        "the first so many of -1": "{ conversations(first: -1) { id } }",
        "the last so many of 0": "{ messages(last: 0) { id } }",
        "the last so many of -1": "{ messages(last: -1) { id } }",
        "the last so many of -2^31": "{ messages(last: -2147483648) { id } }",
        "the last so many of 2^31 - 1": "{ messages(last: 2147483647) { id } }",
        "the last so many of 2^31": "{ messages(last: 2147483648) { id } }",
        "the last so many of 2^53": "{ messages(last: 9007199254740993) { id } }",
        "the last so many of 2^64": "{ messages(last: 18446744073709551616) { id } }",
        "the last so many of a fraction": "{ messages(last: 1.5) { id } }",
        "the last so many of an exponent": "{ messages(last: 1e1) { id } }",
        "the last so many of 10^400": "{ messages(last: 1e400) { id } }",
        "the last so many of a text": '{ messages(last: "1") { id } }',
        "the last so many of a list": "{ messages(last: [[[1]]]) { id } }",
        "before what never was": '{ messages(before: "never") { id } }',
        "5,000 open brackets": "{ a " * 5_000,
        "5,000 open lists": "{ messages(last: " + "[" * 5_000 + "1" + "]" * 5_000 + ") { id } }",
        "5,000 open objects": "{ messages(last: "
        + "{a: " * 5_000
        + "1"
        + "}" * 5_000
        + ") { id } }",
        "5,000 list types": "query ($a: " + "[" * 5_000 + "Int" + "]" * 5_000 + ") { __typename }",
        "5,000 inline fragments": "{ " + "... { " * 5_000 + "__typename" + " }" * 5_001,
        "replies of replies": "{ messages { " + "replies { " * 40 + "id" + " }" * 42,
        "a fragment of itself": "{ ...A } fragment A on Query { ...A }",
        "fragments in a ring": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...C } fragment C on Query { ...A }",
        "a ring of 300 fragments": "{ ...F0 } "
        + numbered("fragment F{0} on Query {{ ...F{1} }}", 300)
        + " fragment F300 on Query { ...F0 }",
        "a bomb of 2^28 fragments": fragments(28, 2),
        "a bomb of 2^100 fragments": fragments(100, 2),
        "a bomb of 10^20 fragments": fragments(20, 10),
        "a bomb of fragments with fields": "{ "
        + numbered("a{0}: messages {{ ...F0 }}", 5)
        + " } "
        + numbered(
            "fragment F{0} on Message {{ a: replies {{ ...F{1} }} b: replies {{ ...F{1} }} }}", 25
        )
        + " fragment F25 on Message { id }",
        "fragments that nobody uses": TYPENAME
        + numbered(" fragment F{0} on Query {{ __typename }}", 300),
        "a fragment that is not there": "{ ...Nothing }",
        "fragments of one name": "{ ...A } fragment A on Query { __typename } fragment A on Query { conversations { id } }",
        "a fragment of nothing": "{ ...on }",
        "500 aliases": "{ " + numbered("a{0}: __typename", 500) + " }",
        "1,900 aliases": "{ " + numbered("a{0}", 1_900) + " }",
        "50,000 aliases": "{ " + numbered("a{0}: __typename", 50_000) + " }",
        "500 lists": "{ " + numbered("a{0}: messages {{ id content }}", 200) + " }",
        "lists of lists": "{ messages { replies { replies { replies { replies { content } } } } } }",
        "one field 1,900 times": "{ " + "__typename " * 1_900 + "}",
        "fields that may be equal": "{ " + "a: messages { id } " * 300 + "}",
        "fields that are not equal": "{ " + numbered("a: messages(last: {1}) {{ id }}", 200) + " }",
        "500 directives": "{ __typename " + "@skip(if: false) " * 300 + "}",
        "500 unknown directives": "{ __typename " + numbered("@d{0}", 500) + " }",
        "a directive that is deferred": "{ ... @defer { __typename } messages @stream(initialCount: 0) { id } }",
        "500 unknown fields": "{ " + numbered("messagez{0}", 500) + " }",
        "500 unknown arguments": "{ messages(" + numbered("arg{0}: 1", 500) + ") { id } }",
        "500 unknown types": numbered("fragment F{0} on Messag{0} {{ id }}", 300) + TYPENAME,
        "500 variables": "query (" + numbered("$a{0}: Int = {0}", 300) + ") { __typename }",
        "variables that refer to themselves": "query ($a: Int = $a) { messages(last: $a) { id } }",
        "a default that cannot be": 'query ($a: Int! = "x") { messages(last: $a) { id } }',
        "500 operations": numbered("query Q{0} {{ __typename }}", 300),
        "two operations without name": TYPENAME + TYPENAME,
        "no operation": "fragment A on Query { __typename }",
        "a schema": "type Query { a: Int } extend type Message { secret: String }",
        "the whole schema": "{ __schema { types { name fields { name args { name type { name } } type { name } } } } }",
        "a bomb of introspection": "{ __schema { types { "
        + "fields { type { " * 12
        + "name"
        + " } }" * 12
        + " } } }",
        "a bomb of possible types": "{ __schema { types { "
        + "possibleTypes { interfaces { " * 10
        + "name"
        + " } }" * 10
        + " } } }",
        "a type of the type": '{ __type(name: "Message") { '
        + "ofType { " * 100
        + "name"
        + " }" * 102,
        "a type of no name": '{ __type(name: "") { name } }',
        "the federation's way in": "{ _service { sdl } _entities(representations: []) { __typename } }",
        "a mutation of 300 clears": "mutation { "
        + numbered('a{0}: clearMessages(conversationId: "nobody\'s")', 200)
        + " }",
        "a stop of nothing": 'mutation { stopMessage(id: "never") { id } }',
        "a stop of a null byte": 'mutation { stopMessage(id: "a\\u0000b") { id } }',
        "a clear with an id of 100,000": 'mutation { clearMessages(conversationId: "'
        + "x" * 100_000
        + '") }',
        "only a name": "query",
        "an emoji for a field": "{ \U0001f600 }",
        "a homoglyph for a field": "{ mess\u0430ges { id } }",
    }.items()
] + [
    attack(
        "an unknown operation name", asking("query A { __typename }", operationName="B"), *REFUSED
    ),
    attack(
        "an operation name of 1 MB",
        asking("query A { __typename }", operationName="B" * 1_000_000),
        *REFUSED,
    ),
    attack(
        "an operation name of the prototype",
        asking("query A { __typename }", operationName="__proto__"),
        *REFUSED,
    ),
    attack("an empty operation name", asking("query A { __typename }", operationName=""), *REFUSED),
    attack(
        "variables of 1.9 MB",
        asking("query ($a: ID!) { message(id: $a) { id } }", variables={"a": "x" * 1_900_000}),
        200,
    ),
    attack(
        "a variable of 50,000 lists",
        asking("query ($a: [Int]) { __typename }", variables={"a": [[]] * 50_000}),
        *REFUSED,
    ),
    attack(
        "a deep variable",
        asking(
            "query ($a: Int) { messages(last: $a) { id } }",
            variables={"a": json.loads("[" * 900 + "]" * 900)},
        ),
        *REFUSED,
    ),
    attack(
        "2,000 variables of the wrong type",
        asking("query ($a: [Int!]) { __typename }", variables={"a": ["x"] * 2_000}),
        *REFUSED,
    ),
    attack("a body for a refusal of 406", asking(TYPENAME, b"Accept: text/plain"), 406),
]

GETS = [
    attack("a mutation by GET", getting(b"/graphql?query=mutation%7BclearMessages%7D"), 405),
    attack(
        "a mutation by GET, from a page",
        getting(
            b"/graphql?query=mutation%7BclearMessages%7D",
            b"Accept: text/html",
            b"Origin: http://evil.example",
        ),
        403,
        405,
        406,
    ),
    attack(
        "a send by GET",
        getting(
            b"/graphql?query=subscription%7BsendMessage(message:%7Bid:%22a%22,content:%22b%22%7D)%7Btext%7D%7D",
            b"Accept: text/event-stream",
        ),
        405,
    ),
    attack(
        "a question by HEAD",
        request(method=b"HEAD", target=b"/graphql?query=%7B__typename%7D"),
        405,
        has_body=False,
    ),
    attack("no question", getting(b"/graphql"), 400),
    attack("a question in a list", getting(b"/graphql?query[]=%7B__typename%7D"), 400),
    attack(
        "a question said twice",
        getting(b"/graphql?query=%7Bnothing%7D&query=%7B__typename%7D"),
        200,
    ),
    attack(
        "variables that are no JSON", getting(b"/graphql?query=%7B__typename%7D&variables=%7B"), 400
    ),
    attack(
        "20,000 lists as variables",
        getting(b"/graphql?query=%7B__typename%7D&variables=" + b"[" * 20_000),
        400,
    ),
    attack("a question that is not UTF-8", getting(b"/graphql?query=%ff%fe"), *REFUSED),
    attack("a question of percent signs", getting(b"/graphql?query=" + b"%" * 1_000), *REFUSED),
    attack("a question by PUT", request(method=b"PUT", content=ASKED), 405),
    attack("a question by DELETE", request(method=b"DELETE"), 405),
    attack(
        "a form from another page",
        saying(
            b"query=mutation%7BclearMessages%7D",
            b"Content-Type: application/x-www-form-urlencoded",
            b"Origin: http://evil.example",
        ),
        403,
        415,
    ),
    attack(
        "JSON in disguise from another page",
        saying(
            b'{"query":"mutation{clearMessages}"}',
            b"Content-Type: text/plain",
            b"Origin: http://evil.example",
        ),
        403,
        415,
    ),
    attack(
        "a preflight from another page",
        request(
            b"Origin: http://evil.example",
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: content-type",
            method=b"OPTIONS",
        ),
        400,
        403,
        405,
    ),
]

STREAM = b"Accept: text/event-stream"
MULTIPART = b'Accept: multipart/mixed;subscriptionSpec="1.0"'
EVENTS = "subscription { conversationEvents { __typename } }"
LONG = (
    'subscription { sendMessage(message: {id: "%s", content: "' + "word " * 2_000 + '"}) { text } }'
)

STREAMS = [
    attack("a stream of events that nobody reads on", asking(EVENTS, STREAM), 200, leaves=True),
    attack("parts that nobody reads on", asking(EVENTS, MULTIPART), 200, leaves=True),
    attack("a stream of words that is cut", asking(LONG % "cut-stream", STREAM), 200, leaves=True),
    attack("parts of words that are cut", asking(LONG % "cut-parts", MULTIPART), 200, leaves=True),
    attack(
        "a stream and a request behind it",
        asking(EVENTS, STREAM) + getting(b"/healthz"),
        200,
        leaves=True,
    ),
    attack(
        "a stream over HTTP/1.0",
        asking(EVENTS, STREAM).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        200,
        leaves=True,
    ),
    attack("a stream of a query", asking(TYPENAME, STREAM), 200),
    attack("a stream of what is refused", asking("subscription { nothing }", STREAM), 200),
    attack("parts of what is refused", asking("subscription { nothing }", MULTIPART), 200),
    attack(
        "a stream of an unknown reply",
        asking('subscription { resumeMessage(message: {id: "never"}) { text } }', STREAM),
        200,
    ),
    attack(
        "a stream of a reply of -1",
        asking(
            'subscription { resumeMessage(message: {id: "never", offset: -1}) { text } }', STREAM
        ),
        200,
    ),
    attack(
        "a stream of a reply of 2^31",
        asking(
            'subscription { resumeMessage(message: {id: "never", offset: 2147483648}) { text } }',
            STREAM,
        ),
        200,
    ),
    attack(
        "a stream of a null byte",
        asking(
            'subscription { sendMessage(message: {id: "a", content: "\\u0000"}) { text } }', STREAM
        ),
        200,
    ),
    attack(
        "a stream of 100,000 letters",
        asking(
            'subscription { sendMessage(message: {id: "a", content: "'
            + "x" * 100_000
            + '"}) { text } }',
            STREAM,
        ),
        200,
    ),
    attack(
        "two streams in one",
        asking(
            "subscription { a: conversationEvents { __typename } b: conversationEvents { __typename } }",
            STREAM,
        ),
        200,
    ),
    attack("a stream that wants no stream", asking(EVENTS), 406),
    attack("a stream of nothing", asking("", STREAM), 200, 400),
    attack(
        "an Accept of 60 KB", asking(TYPENAME, b"Accept: " + b"a/b," * 15_000), 200, 400, 406, 431
    ),
    attack(
        "an Accept of 5,000 qualities",
        asking(TYPENAME, b"Accept: " + b"application/json;q=0.1," * 2_000),
        200,
        406,
        431,
    ),
    attack(
        "qualities that are none",
        asking(TYPENAME, b"Accept: application/json;q=nan, */*;q=-1, text/html;q=1e999, a/b;q=;q"),
        200,
        406,
    ),
    attack(
        "an Accept of 5,000 parameters",
        asking(TYPENAME, b"Accept: application/json" + b";a=b" * 5_000),
        200,
        406,
        431,
    ),
    attack("an Accept of semicolons", asking(TYPENAME, b"Accept: " + b";" * 20_000), 200, 406),
    attack("an Accept of quotes", asking(TYPENAME, b'Accept: "' + b'\\"' * 5_000), 200, 406),
    attack(
        "a parameter with 5,000 digits",
        asking(TYPENAME, b"Accept: multipart/mixed; subscriptionSpec*" + b"1" * 5_000 + b"*=1.0"),
        200,
        406,
    ),
    attack(
        "a boundary of 5,000 letters",
        asking(
            EVENTS, b'Accept: multipart/mixed;boundary="' + b"-" * 5_000 + b'";subscriptionSpec=1.0'
        ),
        200,
        406,
        leaves=True,
    ),
    attack(
        "two Accepts",
        asking(TYPENAME, b"Accept: text/plain", b"Accept: application/json"),
        200,
        406,
    ),
    attack(
        "a last event id of 10,000 letters",
        asking(EVENTS, STREAM, b"Last-Event-ID: " + b"9" * 10_000),
        200,
        leaves=True,
    ),
]

INPUTS: list[Attack] = [*BODIES, *DOCUMENTS, *GETS, *STREAMS]
