"""Trusted documents: the only ones that a server runs, if it was given some.

A request means one by its text, or without a text by an id: `documentId`, or the hash of a
persisted query. They are parsed and validated when the server starts, and bounded like all others.
"""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from graphql import GraphQLError, OperationDefinitionNode, specified_rules

from graphql_app import metrics
from graphql_app.api.cost import parsed
from graphql_app.api.requests import Document, GraphQLRequest
from graphql_app.api.schema import ChatSchema
from graphql_app.errors import (
    ChatError,
    ConfigurationError,
    DocumentNotTrustedError,
    DocumentTooCostlyError,
    PersistedQueryNotFoundError,
)

APOLLO_FORMAT = "apollo-persisted-query-manifest"

HASH = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
"""An id that claims to be the SHA-256 of the text."""


class TrustedDocuments:
    """Documents by their texts and ids.

    Args:
        documents: by the ids that a manifest has for them. The hashes of their texts are ids, too.
    """

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._by_text: dict[str, Document] = {}
        self._by_id: dict[str, Document] = {}
        for id, document in documents.items():
            document = self._by_text.setdefault(document.text, document)
            hash = _hash(document.text)
            self._by_id |= {hash: document, f"sha256:{hash}": document, id: document}

    def __len__(self) -> int:
        return len(self._by_text)

    def document(self, request: GraphQLRequest) -> Document:
        """The document that is meant.

        Raises:
            GraphQLError: it is none of these.
        """
        if request.document_id is None:
            document = self._by_text.get(request.query)
        else:
            document = self._by_id.get(request.document_id)
        if document is not None:
            return document
        metrics.refused("document")
        is_apollo = request.document_id is not None and "persistedQuery" in (
            request.extensions or {}
        )
        error: ChatError = PersistedQueryNotFoundError() if is_apollo else DocumentNotTrustedError()
        raise GraphQLError(str(error), original_error=error)


def read_trusted_documents(file: str, schema: ChatSchema) -> TrustedDocuments:
    """The documents of a manifest.

    Args:
        file: as graphql-codegen writes it, an object of texts by id, or as Apollo's
            generate-persisted-query-manifest does.

    Raises:
        ConfigurationError: says what is wrong with it.
    """
    documents = {}
    for id, text in _read(file).items():
        shown = f"trusted_documents: the document {id[:80]!r} of {file!r}"
        claimed = HASH.fullmatch(id)
        if claimed is not None and claimed[1].lower() != _hash(text):
            raise ConfigurationError(f"{shown} has another text than its hash says.")
        try:
            document = Document(parsed(text))
            for definition in document.node.definitions:
                # What has variables depends on them.
                if isinstance(definition, OperationDefinitionNode) and not (
                    definition.variable_definitions
                ):
                    document.check_answer(definition, {})
            errors = schema.errors_in(document.node, specified_rules)
        except (GraphQLError, DocumentTooCostlyError) as error:
            raise ConfigurationError(f"{shown} cannot be used: {_sentence(error)}") from error
        if errors:
            raise ConfigurationError(f"{shown} is not valid: {_sentence(errors[0])}")
        documents[id] = document
    return TrustedDocuments(documents)


def _read(file: str) -> dict[str, str]:
    """The texts of a manifest by their ids."""
    try:
        value = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(
            f"trusted_documents: {file!r} cannot be read: {error.strerror or error}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"trusted_documents: {file!r} is not JSON.") from error
    if isinstance(value, dict) and value.get("format") == APOLLO_FORMAT:
        operations = value.get("operations")
        entries = operations if isinstance(operations, list) else []
        value = {entry.get("id"): entry.get("body") for entry in entries if isinstance(entry, dict)}
    if not isinstance(value, dict) or not all(
        isinstance(each, str) for pair in value.items() for each in pair
    ):
        raise ConfigurationError(
            f"trusted_documents: {file!r} is no manifest: neither an object with texts by their "
            "ids, nor one of Apollo's."
        )
    if not value:
        raise ConfigurationError(f"trusted_documents: {file!r} has no documents.")
    return value


def manifest(texts: list[str]) -> dict[str, str]:
    """Texts by their hashes, as `read_trusted_documents` reads them."""
    return {_hash(text): text for text in texts}


def _hash(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def _sentence(error: Exception) -> str:
    return error.message if isinstance(error, GraphQLError) else str(error)
