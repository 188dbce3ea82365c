"""OpenAI: embeddings. https://platform.openai.com/docs/api-reference/embeddings"""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Iterable
from typing import Any

from app.kinds.prompts.dialects.openai.conversation import tokens
from app.kinds.prompts.dialects.upstream import ObjectReader, upstream_object, vector
from app.kinds.prompts.dialects.wire import Members, Stamp, Wire, bad_field
from app.kinds.prompts.reply import Reply
from app.kinds.prompts.request import PromptRequest


def read(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/embeddings`. Raises BadFieldError."""
    members = Members(body)
    inputs = members.texts("input")
    encoding = members.text("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise bad_field("encoding_format", "float or base64")
    model = members.text("model")
    options = members.options("dimensions")
    request = PromptRequest(operation="embed", model=model, inputs=inputs, options=options)
    return request, Wire("embed", model, marks=frozenset([encoding]))


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a reply."""
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": _packed(one) if "base64" in wire.marks else list(one),
        }
        for number, one in enumerate(reply.embeddings)
    ]
    usage = {"prompt_tokens": reply.usage.prompt, "total_tokens": reply.usage.prompt}
    return {"object": "list", "data": data, "model": wire.model or reply.model, "usage": usage}


def _packed(numbers: Iterable[float]) -> str:
    packed = array.array("f", numbers)
    if sys.byteorder != "little":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


class ReplyReader(ObjectReader):
    """Reads replies to embeddings, which do not come as streams."""

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply. Raises UpstreamError."""
        members = upstream_object(body)
        rows = sorted(members.objects("data"), key=lambda row: row.count("index"))
        vectors = tuple(vector(row.get("embedding")) for row in rows)
        return Reply((), members.text("model"), tokens(members.inner("usage")), vectors)
