"""What others may import."""

import graphql_app


def test_the_public_surface_is_this_list() -> None:
    assert sorted(graphql_app.__all__) == [
        "Completion",
        "CompletionError",
        "Message",
        "ReplyErrorCode",
        "Role",
        "Status",
        "Usage",
    ]


def test_everything_on_the_list_is_there() -> None:
    for name in graphql_app.__all__:
        assert getattr(graphql_app, name) is not None
