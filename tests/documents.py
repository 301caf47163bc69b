"""Documents that were made to be expensive, in the size that is asked for."""

import random
from collections.abc import Callable, Iterator

FIELDS = ("id", "content", "status", "role", "createdAt", "replyToId", "conversationId")
NAMES = (
    *FIELDS,
    "messages",
    "message",
    "replies",
    "error",
    "conten",
    "__schema",
    "__type",
    "types",
)


def hostile(size: int) -> Iterator[tuple[str, str]]:
    """Documents of at most `size` characters, each with what makes it expensive."""
    for name, make in KINDS.items():
        yield name, _largest(make, size)


def _largest(make: Callable[[int], str], size: int) -> str:
    """The largest document of a kind that has no more than `size` characters."""
    low, high = 1, size
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(make(middle)) <= size else (low, middle - 1)
    return make(low)


def _each(count: int, form: str) -> str:
    """A form for each number, with `{i}` and the next one, `{j}`."""
    return " ".join(form.replace("{i}", str(i)).replace("{j}", str(i + 1)) for i in range(count))


def _spreads(numbers: range) -> str:
    return " ".join(f"...F{i}" for i in numbers)


KINDS: dict[str, Callable[[int], str]] = {
    "one field over and over": lambda n: f"{{ messages {{ {'id ' * n} }} }}",
    "one unknown field over and over": lambda n: f"{{ messages {{ {'conten ' * n} }} }}",
    "aliases": lambda n: f"{{ messages {{ {_each(n, 'a{i}: id')} }} }}",
    "aliases of roots": lambda n: f"{{ {_each(n, 'a{i}: message(id: 1) {{ id }}')} }}".replace(
        "{{", "{"
    ).replace("}}", "}"),
    "near misses": lambda n: f"{{ messages {{ {_each(n, 'conversatonI{i}')} }} }}",
    "one root over and over": lambda n: f"{{ {'message(id: 1) { id } ' * n} }}",
    "merges in merges": lambda n: (
        f"{{ {('messages { ' + 'replies { id } ' * max(1, int(n**0.5)) + '} ') * int(n**0.5)} }}"
    ),
    "deep merges": lambda n: (
        f"{{ {('message(id: 1) { ' + 'replies { ' * 5 + 'id ' + '} ' * 6) * n} }}"
    ),
    "merges with arguments": lambda n: (
        f"{{ {'messages(last: 1, before: 2, conversationId: 3) { id } ' * n} }}"
    ),
    "merges with large arguments": lambda n: (
        "subscription { "
        + 'resumeMessage(message: {id: "a", content: "b", offset: 1}) { text } ' * n
        + "}"
    ),
    "a deep selection": lambda n: (
        "{ message(id: 1) " + "{ replies " * n + "{ id }" + " }" * n + " }"
    ),
    "a deep list": lambda n: f"{{ messages(last: {'[' * n}{']' * n}) {{ id }} }}",
    "a deep object": lambda n: f"{{ messages(last: {'{a: ' * n}1{'}' * n}) {{ id }} }}",
    "braces that nobody closes": lambda n: "{" * n,
    "inline fragments": lambda n: f"{{ messages {{ {'... on Message { id } ' * n} }} }}",
    "nested inline fragments": lambda n: f"{{ messages {'{ ... ' * n}{{ id }}{' }' * n} }}",
    "a fragment bomb": lambda n: (
        "{ messages { ...F0 } } "
        + _each(n, "fragment F{i} on Message { ...F{j} ...F{j} }")
        + f" fragment F{n} on Message {{ id }}"
    ),
    "an empty fragment bomb": lambda n: (
        "{ messages { ...F0 } } "
        + _each(n, "fragment F{i} on Message { ...F{j} ...F{j} }")
        + f" fragment F{n} on Message {{ }}"
    ),
    "a bomb of fields": lambda n: (
        "{ message(id: 1) { ...F0 } } "
        + _each(n, "fragment F{i} on Message { a: replies { ...F{j} } b: replies { ...F{j} } }")
        + f" fragment F{n} on Message {{ id }}"
    ),
    "a cycle of fragments": lambda n: (
        "{ messages { ...F0 } } "
        + _each(n, "fragment F{i} on Message { ...F{j} ...F0 }")
        + f" fragment F{n} on Message {{ ...F0 }}"
    ),
    "fragments that all spread all": lambda n: (
        "".join(
            f"fragment F{i} on Message {{ {_each(int(n**0.5), '...F{i}')} }} "
            for i in range(int(n**0.5))
        )
        + "{ messages { ...F0 } }"
    ),
    "fragments that all spread what follows": lambda n: (
        "{ messages { ...F0 } } "
        + "".join(
            f"fragment F{i} on Message {{ id {_spreads(range(i + 1, int(n**0.5)))} }} "
            for i in range(int(n**0.5))
        )
    ),
    "many fragments in one place": lambda n: (
        f"{{ messages {{ {_each(n, '...F{i}')} }} }} "
        + _each(n, "fragment F{i} on Message { id role }")
    ),
    "fragments that nobody spreads": lambda n: (
        "{ messages { id } } " + _each(n, "fragment F{i} on Message { id }")
    ),
    "fragments of one name": lambda n: (
        "{ messages { ...F } } " + "fragment F on Message { id ...F } " * n
    ),
    "spreads of no fragment": lambda n: f"{{ messages {{ {_each(n, '...F{i}')} }} }}",
    "many operations": lambda n: _each(n, "query A{i} { message(id: 1) { id } }"),
    "operations of one name": lambda n: "query A { message(id: 1) { id } } " * n,
    "operations that share fragments": lambda n: (
        _each(n, "query A{i} { message(id: 1) { ...F0 } }")
        + _each(n, " fragment F{i} on Message { id ...F{j} }")
        + f" fragment F{n} on Message {{ id }}"
    ),
    "variables": lambda n: f"query({_each(n, '$a{i}: Int')}) {{ messages {{ id }} }}",
    "variables that are used": lambda n: (
        f"query({_each(n, '$a{i}: Int')}) {{ messages {{ {_each(n, 'id @skip(if: $a{i})')} }} }}"
    ),
    "variables of one name": lambda n: f"query({'$a: Int ' * n}) {{ messages {{ id }} }}",
    "variables of near types": lambda n: (
        f"query({_each(n, '$a{i}: MessageInpu{i}')}) {{ messages {{ id }} }}"
    ),
    "variables that nobody defined": lambda n: (
        f"{{ messages {{ {_each(n, 'id @skip(if: $a{i})')} }} }}"
    ),
    "undefined variables of many operations": lambda n: (
        _each(n, "query A{i} { ...F }")
        + f" fragment F on Query {{ messages {{ {_each(n, 'id @skip(if: $a{i})')} }} }}"
    ),
    "defaults": lambda n: f"query($a: Int = [{'1 ' * n}]) {{ messages(last: $a) {{ id }} }}",
    "directives": lambda n: f"{{ messages {{ id {'@skip(if: true) ' * n} }} }}",
    "unknown directives": lambda n: f"{{ messages {{ id {_each(n, '@ski{i}')} }} }}",
    "arguments of one name": lambda n: f"{{ messages({'last: 1 ' * n}) {{ id }} }}",
    "unknown arguments": lambda n: f"{{ messages({_each(n, 'las{i}: 1')}) {{ id }} }}",
    "a list": lambda n: f"{{ messages(last: [{'1 ' * n}]) {{ id }} }}",
    "an object": lambda n: (
        f"subscription {{ resumeMessage(message: {{{_each(n, 'offse{i}: 1')}}}) {{ text }} }}"
    ),
    "an object of one field": lambda n: (
        f"subscription {{ resumeMessage(message: {{{'id: 1 ' * n}}}) {{ text }} }}"
    ),
    "a list of objects": lambda n: (
        f"subscription {{ resumeMessage(message: [{'{a: 1} ' * n}]) {{ text }} }}"
    ),
    "unknown types": lambda n: f"{{ messages {{ {_each(n, '... on Messag{i} { id }')} }} }}",
    "impossible fragments": lambda n: f"{{ messages {{ {'... on StreamChunk { text } ' * n} }} }}",
    "introspection over and over": lambda n: (
        f"{{ {_each(n, 'a{i}: __schema { types { name } }')} }}"
    ),
    "introspection in itself": lambda n: (
        "{ __schema { types { " + "fields { type { " * n + "name" + " } }" * n + " } } }"
    ),
    "types of types": lambda n: (
        '{ __type(name: "Message") { ' + "ofType { " * n + "name" + " }" * n + " } }"
    ),
    "a long string": lambda n: f'{{ message(id: "{"x" * n}") {{ id }} }}',
    "a long string where a number belongs": lambda n: f'{{ messages(last: "{"x" * n}") {{ id }} }}',
    "escapes": lambda n: f'{{ message(id: "{chr(92) + "u0041"}") {{ id }} }}'.replace(
        "u0041", "u0041" + "\\u0041" * n
    ),
    "a block string": lambda n: f'{{ message(id: """{chr(10) + " x"}""") {{ id }} }}'.replace(
        " x", " x" + "\n x" * n
    ),
    "a long name": lambda n: f"{{ messages {{ {'conversationId' * n} }} }}",
    "long names": lambda n: f"{{ messages {{ {('conversationId' * 40 + ' ') * n} }} }}",
    "a long number": lambda n: f"{{ messages(last: {'9' * n}) {{ id }} }}",
    "long numbers": lambda n: f"{{ messages(last: [{('9' * 500 + ' ') * n}]) {{ id }} }}",
    "a comment": lambda n: f"#{'x' * n}",
    "comments": lambda n: "#\n" * n,
    "comments before something": lambda n: "#\n" * n + "{ messages { id } }",
    "blanks": lambda n: " " * n,
    "lines before an error": lambda n: "\n" * n + "{ nothing }",
    "definitions of types": lambda n: _each(n, "type A{i} { a: Int }"),
    "descriptions": lambda n: '"a" ' * n,
    "leafs with selections": lambda n: f"{{ messages {{ {'id { id } ' * n} }} }}",
    "objects without selections": lambda n: f"{{ {_each(n, 'a{i}: messages')} }}",
    "many roots of a subscription": lambda n: (
        f"subscription {{ {_each(n, 'a{i}: conversationEvents { __typename }')} }}"
    ),
}


def invented(random: random.Random, size: int) -> str:
    """A document of about so many characters that nobody thought of."""
    parts: list[str] = []
    fragments = random.choice((0, 3, 30, 60))
    left = size

    def selection(depth: int) -> str:
        nonlocal left
        if fragments and random.random() < 0.3:
            text = f"...F{random.randrange(fragments)}"
        else:
            text = random.choice(NAMES)
            if random.random() < 0.2:
                text = f"{random.choice('abc')}: {text}"
            if random.random() < 0.1:
                text += f"(last: {random.choice(('1', '$v', '[1 2]', '{a: 1}'))})"
            if random.random() < 0.1:
                text += random.choice((" @skip(if: true)", " @skip(if: $v)", " @x"))
        left -= len(text) + 1
        if depth > 0 and left > 0 and not text.startswith("...") and random.random() < 0.5:
            text += f" {selections(depth - 1)}"
        elif depth > 0 and left > 0 and random.random() < 0.1:
            text = f"... {selections(depth - 1)}"
        return text

    def selections(depth: int) -> str:
        nonlocal left
        left -= 4
        width = random.choice((1, 2, 5, 20))
        return f"{{ {' '.join(selection(depth) for _ in range(width) if left > 0) or 'id'} }}"

    for i in range(fragments):
        left = size // 2 // fragments
        parts.append(f"fragment F{i} on {random.choice(('Message', 'Query'))} {selections(2)}")
    for i in range(random.choice((1, 1, 5, 20))):
        left = size // 2
        parts.append(f"query A{i}($v: Int) {selections(random.choice((2, 6, 20)))}")
    random.shuffle(parts)
    return " ".join(parts)[:size]
