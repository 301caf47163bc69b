"""What a client wants its answer to look like: media types, and how a stream comes.

Sources: RFC 9110, 12.5.1; https://graphql.github.io/graphql-over-http/draft/;
https://www.apollographql.com/docs/router/executing-operations/subscription-multipart-protocol
"""

from collections.abc import Iterator

from strawberry.http import GraphQLRequestProtocol

RESPONSE_JSON = "application/graphql-response+json"
LEGACY_JSON = "application/json"


def negotiated(accept: str) -> str | None:
    """The media type of a JSON answer that a client prefers, or None if it accepts neither."""
    best, best_quality = None, 0.0
    for media_type, parameters in media_types(accept):
        offered = {
            RESPONSE_JSON: RESPONSE_JSON,
            LEGACY_JSON: LEGACY_JSON,
            "application/*": RESPONSE_JSON,
            "*/*": LEGACY_JSON,
        }.get(media_type)
        quality = _quality(parameters.get("q", "1"))
        if offered is not None and quality > best_quality:
            best, best_quality = offered, quality
    return best


def _quality(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0


def wanted_protocol(accept: str) -> GraphQLRequestProtocol:
    """How a client wants a stream to come, if what it asks for is one."""
    for media_type, parameters in media_types(accept):
        if media_type == "text/event-stream":
            return "sse"
        if media_type == "multipart/mixed" and "subscriptionspec" in parameters:
            return "multipart-subscription"
    return "http"


def media_types(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The media types in an Accept or Content-Type header, with their parameters."""
    for entry in header.lower().split(","):
        media_type, *parameters = entry.split(";")
        pairs = (parameter.partition("=") for parameter in parameters)
        yield media_type.strip(), {name.strip(): value.strip(' "') for name, _, value in pairs}
