"""Chunks in an OpenSearch or Elasticsearch-compatible server: bulk writes with back-off, BM25, readers as a filter.

Vectors stay in FAISS (vectors.py). The server's address comes from params or OPENSEARCH_URL, credentials from OPENSEARCH_USER and
OPENSEARCH_PASSWORD alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from components.engines.base.credentials import refuse_credentials
from components.engines.base.errors import StageError, UsageError
from components.engines.documents.chunking import Chunk
from components.engines.index.library import EVERYONE

_BULK = 500  # chunks a request
_RETRIES, _FIRST_WAIT_S, _LONGEST_WAIT_S = 8, 1, 60
_MAPPING = {
    "properties": {
        "document": {"type": "keyword"},
        "readers": {"type": "keyword"},
        "page": {"type": "integer"},
        "text": {"type": "text"},
    }
}


class SearchServer:
    """One index of a server. Raises UsageError without an address, StageError where the server does not answer."""

    def __init__(self, index: str, url: str | None = None, *, timeout_s: float = 30) -> None:
        from opensearchpy import OpenSearch

        address = url or os.environ.get("OPENSEARCH_URL")
        if not address:
            raise UsageError("No search server is named", do="set OPENSEARCH_URL, or give its address")
        refuse_credentials(address, "url", where="the search server's address")
        user, password = os.environ.get("OPENSEARCH_USER"), os.environ.get("OPENSEARCH_PASSWORD")
        self.index = index
        self.client = OpenSearch(
            hosts=[address],
            http_auth=(user, password) if user and password else None,
            timeout=timeout_s,
            max_retries=_RETRIES,
            retry_on_timeout=True,
            retry_on_status=(429, 502, 503, 504),
        )
        self.address = address

    def create(self) -> None:
        """The index with its mapping, if it is not there."""
        with _explained(self.address):
            if not self.client.indices.exists(index=self.index):
                self.client.indices.create(index=self.index, body={"mappings": _MAPPING})

    def put(self, document: str, chunks: Sequence[Chunk], readers: Sequence[str]) -> None:
        """A document's chunks instead of those it had; where the server is busy (429) each is sent again, later and later."""
        from opensearchpy.helpers import streaming_bulk

        with _explained(self.address):
            self.forget(document)
            for ok, told in streaming_bulk(
                self.client,
                self._actions(document, chunks, readers),
                chunk_size=_BULK,
                max_retries=_RETRIES,
                initial_backoff=_FIRST_WAIT_S,
                max_backoff=_LONGEST_WAIT_S,
                raise_on_error=False,
                refresh=True,
            ):
                if not ok:
                    raise StageError(f"The search server refuses a chunk: {told}", where=f"{self.address}/{self.index}")

    def _actions(self, document: str, chunks: Sequence[Chunk], readers: Sequence[str]) -> Iterator[dict[str, Any]]:
        for chunk in chunks:
            body = {"document": document, "readers": list(readers), "page": chunk.page, "text": chunk.whole}
            yield {"_op_type": "index", "_index": self.index, "_id": chunk.id, "_source": body}

    def forget(self, document: str) -> int:
        """Delete every chunk of a document; how many there were."""
        with _explained(self.address):
            body = {"query": {"term": {"document": document}}}
            told = self.client.delete_by_query(index=self.index, body=body, refresh=True, conflicts="proceed")
        return int(told.get("deleted", 0))

    def search(self, question: str, groups: Iterable[str], k: int) -> list[tuple[str, float]]:
        """(chunk id, BM25 score), the best first, among what members of these groups may read: filtered before it is ranked."""
        query = {
            "bool": {
                "must": [{"match": {"text": question}}],
                "filter": [{"terms": {"readers": sorted({EVERYONE, *groups})}}],
            }
        }
        with _explained(self.address):
            found = self.client.search(index=self.index, body={"query": query, "size": k, "_source": False})
        return [(hit["_id"], float(hit["_score"])) for hit in found["hits"]["hits"]]


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turns what the client raises into one clear error."""
    from opensearchpy.exceptions import OpenSearchException

    try:
        yield
    except OpenSearchException as error:
        raise StageError(
            f"The search server does not do what it is asked: {' '.join(str(error).split())[:300]}",
            where=address,
            do="see that it runs and that this user may write to the index",
        ) from error
