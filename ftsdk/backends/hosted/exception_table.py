"""What each exception of the SDKs, of httpx and of the socket layer implies for the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Rule = Literal["status", "wrapped", "before", "unsendable", "lost", "shape"]
"""What an exception implies: `status`, decided by the reply's status; `wrapped`, by the exception
it wraps; `before`, provably not sent; `unsendable`, not a valid request; `lost`, sent without a
complete reply; `shape`, a reply without the documented shape.
"""

RULES: Mapping[str, Rule] = {
    # A reply with a status, which decides.
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
    # The SDK's own wrapper: what it wraps decides; lost when that is unknown.
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
    # Not a request: the call itself is wrong.
    "CookieConflict": "unsendable",
    "InvalidFileFormatError": "unsendable",
    "MissingStreamClassError": "unsendable",
    "_AmbiguousModuleClientUsageError": "unsendable",  # of openai's module-level client
    "FileTypeError": "unsendable",
    "InvalidURL": "unsendable",
    "LocalProtocolError": "unsendable",
    "RequestNotRead": "unsendable",
    "UnsupportedProtocol": "unsendable",
    # Sent, or partly sent, without a complete reply.
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
    # A reply without the documented shape.
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
    # Of WebSockets, which are not used; listed for completeness.
    "WebSocketConnectionClosedError": "lost",
    "WebSocketQueueFullError": "unsendable",
}
"""The rule for each exception of the SDKs (`openai`, `together`, `replicate`), of httpx and httpx2,
and of the socket layer, by class name. A test searches all their modules for one that is
missing.
"""


def rule_of(error: BaseException) -> tuple[Rule | None, BaseException]:
    """Return the rule for an exception, and the exception (itself or a wrapped one) it is about."""
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
    """Return the HTTP status that an exception carries; 0 without one."""
    response = getattr(error, "response", None)
    value = getattr(response, "status_code", None) or getattr(error, "status", None)
    return value if isinstance(value, int) else 0
