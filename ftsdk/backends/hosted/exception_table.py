"""What each exception of the SDKs, of httpx and of the socket layer says about the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Rule = Literal["status", "wrapped", "before", "unsendable", "lost", "shape"]
"""Judged by the answer's status; by what it wraps; or itself: provably before sending, never a
request, sent without a whole answer, an answer of another shape."""

RULES: Mapping[str, Rule] = {
    # An answer with a status: judged by it.
    "APIStatusError": "status",
    "AuthenticationError": "status",
    "BadRequestError": "status",
    "ConflictError": "status",
    "HTTPStatusError": "status",
    "InternalServerError": "status",
    "NotFoundError": "status",
    "OAuthError": "status",
    "PermissionDeniedError": "status",
    "RateLimitError": "status",
    "ReplicateError": "status",
    "UnprocessableEntityError": "status",
    # The SDK's own wrapper: judged by what it wraps, lost when that is unknown.
    "APIConnectionError": "wrapped",
    "APIError": "wrapped",
    "APITimeoutError": "wrapped",
    "DownloadError": "wrapped",
    "OpenAIError": "wrapped",
    "ReplicateException": "wrapped",
    "SubjectTokenProviderError": "before",
    "TogetherError": "wrapped",
    # Provably before the request was sent.
    "ConnectError": "before",
    "ConnectTimeout": "before",
    "ConnectionRefusedError": "before",
    "PoolTimeout": "before",
    "ProxyError": "before",
    "SSLCertVerificationError": "before",
    "gaierror": "before",
    # Never a request: the call itself is wrong.
    "CookieConflict": "unsendable",
    "InvalidFileFormatError": "unsendable",
    "MissingStreamClassError": "unsendable",
    "_AmbiguousModuleClientUsageError": "unsendable",  # of openai's module-level client
    "FileTypeError": "unsendable",
    "InvalidURL": "unsendable",
    "LocalProtocolError": "unsendable",
    "RequestNotRead": "unsendable",
    "UnsupportedProtocol": "unsendable",
    # Sent, or partly sent, and no whole answer.
    "BrokenPipeError": "lost",
    "CloseError": "lost",
    "ConnectionAbortedError": "lost",
    "ConnectionError": "lost",
    "ConnectionResetError": "lost",
    "EndOfStream": "lost",
    "FileAlreadyExistsError": "lost",  # of together's upload, which takes it for "already there"
    "HTTPError": "lost",
    "NetworkError": "lost",
    "ProtocolError": "lost",
    "ReadError": "lost",
    "ReadTimeout": "lost",
    "RemoteProtocolError": "lost",
    "RequestError": "lost",
    "SSLError": "lost",
    "StreamClosed": "lost",
    "StreamConsumed": "lost",
    "StreamError": "lost",
    "TimeoutError": "lost",
    "TimeoutException": "lost",
    "TransportError": "lost",
    "WriteError": "lost",
    "WriteTimeout": "lost",
    # An answer, but not one of the documented shape.
    "APIResponseValidationError": "shape",
    "ContentFilterFinishReasonError": "shape",
    "DecodingError": "shape",
    "InvalidWebhookSignatureError": "shape",
    "JSONDecodeError": "shape",
    "LengthFinishReasonError": "shape",
    "ModelError": "shape",
    "ResponseNotRead": "shape",
    "SSEError": "shape",
    "TooManyRedirects": "shape",
    "UnicodeDecodeError": "shape",
    "ValidationError": "shape",
    # Of doors we never open (WebSockets); here so that none is left out.
    "WebSocketConnectionClosedError": "lost",
    "WebSocketQueueFullError": "unsendable",
}
"""What each exception of the SDKs (`openai`, `together`, `replicate`), of httpx and httpx2, and of
the socket layer says about the request, by the class's own name. A test looks through every module of theirs for one that is missing."""


def rule_of(error: BaseException) -> tuple[Rule | None, BaseException]:
    """The rule for an exception and the one (itself, or what it wraps) that the rule is about."""
    for cls in type(error).__mro__:
        rule = RULES.get(cls.__name__)
        if rule is None:
            continue
        if rule == "status" and not status_of(error):
            rule = "wrapped"
        if rule != "wrapped":
            return rule, error
        inner = error.__cause__ or error.__context__
        if inner is not None:
            found, source = rule_of(inner)
            if found is not None:
                return found, source
        return "lost", error
    return None, error


def status_of(error: BaseException) -> int:
    """The HTTP status that an exception carries; 0 when it has none."""
    response = getattr(error, "response", None)
    value = getattr(response, "status_code", None) or getattr(error, "status", None)
    return value if isinstance(value, int) else 0
