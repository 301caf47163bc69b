"""The pages for browsers, as `make setup` builds them: how they are sent, and what they may do."""

import os
from collections.abc import Collection
from http import HTTPStatus
from mimetypes import guess_type
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

CHAT = "index.html"
PLAYGROUND = "playground.html"

POLICIES = {
    CHAT: (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # The editor needs styles, fonts and images that it makes itself.
    PLAYGROUND: (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; "
        "style-src 'self' 'unsafe-inline'; img-src data:; font-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""What each page may load: everything comes from here. 'self' includes our WebSocket."""

PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept, Accept-Encoding",  # At /graphql, only who accepts a page gets one.
    "X-Content-Type-Options": "nosniff",
}
FILE_HEADERS = {
    "Cache-Control": "no-cache",
    # A worker may do what its own file says, whatever its page says.
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
ASSET_HEADERS = {**FILE_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}


class Pages(StaticFiles):
    """The files of the build.

    Those in `assets` have a hash of their content in their names, and are kept by browsers for
    good; for all others they ask each time whether they have changed. Where the build has put a
    file with `.gz` at the end of its name beside another, browsers get that.

    Args:
        without: the names of pages that are not shown.
    """

    def __init__(self, directory: Path, *, without: Collection[str] = ()) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._without = without
        self.config_checked = True  # Without a build there is no directory, and no error in that.
        self._assets = directory.resolve() / "assets"

    async def page(self, name: str, request: Request) -> Response:
        """A page; a sentence if it was not built."""
        try:
            return await self.get_response(name, request.scope)
        except HTTPException as error:
            if error.status_code != HTTPStatus.NOT_FOUND:
                raise
            return PlainTextResponse(
                "This page was not built; `make setup` builds it.", HTTPStatus.SERVICE_UNAVAILABLE
            )

    async def get_response(self, path: str, scope: Scope) -> Response:
        if Path(path).name.removesuffix(".gz") in self._without:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await super().get_response(path, scope)

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = HTTPStatus.OK,
    ) -> Response:
        path, asked = Path(full_path), Headers(scope=scope)
        headers = self._headers(path)
        compressed = path.with_name(f"{path.name}.gz")
        sent = path
        if "gzip" in asked.get("accept-encoding", "") and compressed.is_file():
            headers["Content-Encoding"] = "gzip"
            sent, stat_result = compressed, compressed.stat()
        response = FileResponse(
            sent, status_code, headers, guess_type(path.name)[0], stat_result=stat_result
        )
        if self.is_not_modified(response.headers, asked):
            return NotModifiedResponse(response.headers)
        return response

    def _headers(self, path: Path) -> dict[str, str]:
        if policy := POLICIES.get(path.name):
            return {**PAGE_HEADERS, "Content-Security-Policy": policy}
        return dict(ASSET_HEADERS if path.parent == self._assets else FILE_HEADERS)
