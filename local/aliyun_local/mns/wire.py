"""MNS on the wire: REST paths and XML, as the Python and Node clients send and read them; what RAM checks [doc MNS
"permission policies and examples"].
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from msgspec.structs import asdict, replace

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller
from aliyun_local.core.policy import Access
from aliyun_local.mns import xml
from aliyun_local.mns.backend import MnsBackend
from aliyun_local.mns.state import LIMITS, Depth, Message, Queue, QueueAttributes
from aliyun_local.mns.xml import Element

_QUEUE = re.compile(r"/queues/(?P<queue>[^/]+)(?P<messages>/messages)?")
_ROOT = re.compile(rb"<([A-Za-z][\w.-]*)")
_HOST = re.compile(r"(\d+)\.mns\.([a-z0-9-]+?)(?:-internal)?(?:-vpc)?\.aliyuncs\.com")
_INTEGERS = {spelling: attribute for attribute, (spelling, _, _) in LIMITS.items()}


def action(request: Request) -> str:
    """The operation's name, e.g. `SendMessage`; `Unknown` for any other path."""
    method, query = request.method, _query(request)
    if request.path == "/queues":
        return "ListQueue" if method == "GET" else "Unknown"
    match = _QUEUE.fullmatch(request.path)
    if match is None:
        return "Unknown"
    if not match["messages"]:
        put = "SetQueueAttributes" if query.get("metaoverride") == "true" else "CreateQueue"
        return {"PUT": put, "GET": "GetQueueAttributes", "DELETE": "DeleteQueue"}.get(method, "Unknown")
    if method == "GET":
        kind = "PeekMessage" if query.get("peekonly") == "true" else "ReceiveMessage"
        return f"Batch{kind}" if "numOfMessages" in query else kind
    if method == "POST":
        root = _ROOT.search(request.body)
        return "BatchSendMessage" if root and root[1] == b"Messages" else "SendMessage"
    if method == "DELETE":
        return "DeleteMessage" if "ReceiptHandle" in query else "BatchDeleteMessage"
    return "ChangeMessageVisibility" if method == "PUT" else "Unknown"


def handle(backend: MnsBackend, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller."""
    return _Call(backend, caller, request).answer()


def error(problem: ApiError) -> Response:
    """A refusal in the format of MNS: `<Error>` with Code, Message, RequestId and HostId."""
    response = _answer(problem.status)
    request_id = response.headers["x-mns-request-id"]
    parts: list[Element] = [("Code", problem.code), ("Message", problem.message), ("RequestId", request_id)]
    return xml.render(response, ("Error", [*parts, ("HostId", "http://mns.localhost")]))


def _answer(status: int) -> Response:
    headers = {"Server": "AliyunMNS", "x-mns-request-id": secrets.token_hex(12).upper(), "x-mns-version": "2015-06-06"}
    return Response(status, headers)


def _query(request: Request) -> dict[str, str]:
    """The query parameters; the Node client writes their names in lower camel case (`receiptHandle`)."""
    spelling = {"receiptHandle": "ReceiptHandle", "visibilityTimeout": "VisibilityTimeout"}
    return {spelling.get(name, name): value for name, value in request.params.items()}


class _Call:
    """One request of a verified caller. Each operation is a method named `_<Operation>`."""

    def __init__(self, backend: MnsBackend, caller: Caller, request: Request) -> None:
        self.backend = backend
        self.account = caller.account
        self.request = request
        self.query = _query(request)
        match = _QUEUE.fullmatch(request.path)
        self.name = unquote(match["queue"]) if match else ""

    def answer(self) -> Response:
        place = _HOST.fullmatch(self.request.host)
        if place and place[1] != self.account:
            message = "The OwnerId that your Access Key Id associated to is forbidden for this operation."
            raise ApiError("AccessDenied", 403, message)
        if place and place[2] != self.backend.region:  # nor does such a region exist
            raise ApiError("QueueNotExist", 404)
        self.backend.endpoints.require_open(self.account, self.request.host)
        method: Callable[[], Response] | None = getattr(self, f"_{action(self.request)}", None)
        if method is None:
            raise ApiError("InvalidRequestURL", 400)
        return method()

    # What was sent

    def integer(self, name: str, default: int) -> int:
        return xml.integer(name, self.query[name]) if name in self.query else default

    # Queues

    def _CreateQueue(self) -> Response:  # noqa: N802 - named as the operation is
        attributes = self._attributes(QueueAttributes()) if self.request.body else QueueAttributes()
        new = self.backend.create_queue(self.account, self.name, attributes)
        response = _answer(201 if new else 204)
        response.headers["Location"] = self._url(self.name)
        return response

    def _SetQueueAttributes(self) -> Response:  # noqa: N802
        current = self.backend.queue(self.account, self.name).attributes
        self.backend.set_attributes(self.account, self.name, self._attributes(current))
        return _answer(204)

    def _attributes(self, base: QueueAttributes) -> QueueAttributes:
        """`base` with the attributes that the body sets."""
        changes: dict[str, Any] = {}
        for element in xml.document(self.request.body, "Queue"):
            text = (element.text or "").strip()
            if element.tag in _INTEGERS:
                changes[_INTEGERS[element.tag]] = xml.integer(element.tag, text)
            elif element.tag == "LoggingEnabled":
                changes["logging_enabled"] = xml.boolean(element.tag, text)
            elif element.tag == "DlqPolicy":
                changes.update(self._dead_letters(element))
            else:
                raise xml.bad_element(element.tag)
        return replace(base, **changes)

    @staticmethod
    def _dead_letters(policy: ElementTree.Element) -> dict[str, Any]:
        parts = {part.tag: (part.text or "").strip() for part in policy}
        if not xml.boolean("Enabled", parts.pop("Enabled", "true")):
            return {"dead_letter_queue": None}
        target = parts.pop("DeadLetterTargetQueue", "")
        settings: dict[str, Any] = {"dead_letter_queue": target}
        if "MaxReceiveCount" in parts:
            settings["max_receive_count"] = xml.integer("MaxReceiveCount", parts.pop("MaxReceiveCount"))
        if parts or not target:
            raise xml.bad_element(next(iter(parts), "DeadLetterTargetQueue"))
        return settings

    def _GetQueueAttributes(self) -> Response:  # noqa: N802
        return xml.render(
            _answer(200), ("Queue", self._attribute_elements(self.backend.queue(self.account, self.name)))
        )

    def _attribute_elements(self, queue: Queue) -> list[Element]:
        """All twelve elements; the Python client rejects an answer that lacks one."""
        counts, attributes = self.backend.depth(self.account, queue.name), asdict(queue.attributes)
        if self.backend.knobs.queue_counts == "zero":
            counts = Depth(0, 0, 0)
        elements: list[Element] = [
            ("QueueName", queue.name),
            ("CreateTime", queue.created),
            ("LastModifyTime", queue.modified),
            *((name, attributes[key]) for name, key in _INTEGERS.items() if key != "max_receive_count"),
            ("ActiveMessages", counts.active),
            ("InactiveMessages", counts.inactive),
            ("DelayMessages", counts.delayed),
            ("LoggingEnabled", str(queue.attributes.logging_enabled)),
        ]
        if queue.attributes.dead_letter_queue:
            policy: list[Element] = [
                ("Enabled", "true"),
                ("DeadLetterTargetQueue", queue.attributes.dead_letter_queue),
                ("MaxReceiveCount", queue.attributes.max_receive_count),
            ]
            elements.append(("DlqPolicy", policy))
        return elements

    def _DeleteQueue(self) -> Response:  # noqa: N802
        self.backend.delete_queue(self.account, self.name)
        return _answer(204)

    def _ListQueue(self) -> Response:  # noqa: N802
        headers = self.request.headers
        number = xml.integer("x-mns-ret-number", headers.get("x-mns-ret-number", "1000"))
        if not 1 <= number <= 1000:
            raise ApiError("InvalidArgument", 400, "The value of x-mns-ret-number should between 1 and 1000.")
        marker = headers.get("x-mns-marker", "")
        queues = [q for q in self.backend.queues(self.account, headers.get("x-mns-prefix", "")) if q.name > marker]
        page, with_meta = queues[:number], headers.get("x-mns-with-meta") == "true"
        listed: list[Element] = [
            ("Queue", [("QueueURL", self._url(queue.name)), *(self._attribute_elements(queue) if with_meta else ())])
            for queue in page
        ]
        if len(queues) > number:
            listed.append(("NextMarker", page[-1].name))
        return xml.render(_answer(200), ("Queues", listed))

    def _url(self, name: str) -> str:
        return f"http://{self.request.headers.get('host', '').rpartition('://')[2]}/queues/{name}"

    # Messages

    def _SendMessage(self) -> Response:  # noqa: N802
        body, delay, priority = xml.read_message(xml.document(self.request.body, "Message"))
        identity = self.backend.send(self.account, self.name, body, delay, priority)
        return xml.render(_answer(201), ("Message", xml.receipt(identity, body)))

    def _BatchSendMessage(self) -> Response:  # noqa: N802
        messages = [xml.read_message(element) for element in xml.document(self.request.body, "Messages")]
        ids = self.backend.send_all(self.account, self.name, messages)
        sent: list[Element] = [
            ("Message", xml.receipt(identity, body)) for identity, (body, _, _) in zip(ids, messages, strict=True)
        ]
        return xml.render(_answer(201), ("Messages", sent))

    def _ReceiveMessage(self) -> Response:  # noqa: N802
        return xml.render(_answer(200), ("Message", xml.received_elements(self._received()[0])))

    def _BatchReceiveMessage(self) -> Response:  # noqa: N802
        return xml.render(
            _answer(200), ("Messages", [("Message", xml.received_elements(message)) for message in self._received()])
        )

    def _received(self) -> list[Message]:
        polling = self.backend.queue(self.account, self.name).attributes.polling_wait_seconds
        number, wait = self.integer("numOfMessages", 1), self.integer("waitseconds", polling)
        return _not_empty(self.backend.receive(self.account, self.name, number, wait=wait))

    def _PeekMessage(self) -> Response:  # noqa: N802
        return xml.render(_answer(200), ("Message", xml.peeked_elements(self._peeked()[0])))

    def _BatchPeekMessage(self) -> Response:  # noqa: N802
        return xml.render(
            _answer(200), ("Messages", [("Message", xml.peeked_elements(message)) for message in self._peeked()])
        )

    def _peeked(self) -> list[Message]:
        return _not_empty(self.backend.peek(self.account, self.name, self.integer("numOfMessages", 1)))

    def _DeleteMessage(self) -> Response:  # noqa: N802
        self.backend.delete(self.account, self.name, self.query["ReceiptHandle"])
        return _answer(204)

    def _BatchDeleteMessage(self) -> Response:  # noqa: N802
        if not self.request.body:
            raise ApiError("MissingReceiptHandle", 400)
        handles = [
            (element.text or "").strip()
            for element in xml.document(self.request.body, "ReceiptHandles").iter("ReceiptHandle")
        ]
        if not 1 <= len(handles) <= 16:
            raise ApiError("InvalidArgument", 400, "The number of ReceiptHandles should between 1 and 16.")
        failures: list[tuple[str, ApiError]] = []
        for receipt_handle in handles:
            try:
                self.backend.delete(self.account, self.name, receipt_handle)
            except ApiError as problem:
                if problem.code == "QueueNotExist":
                    raise
                failures.append((receipt_handle, problem))
        if not failures:
            return _answer(204)
        # The other messages were deleted; the answer names the handles that failed.
        listed: list[Element] = [
            ("Error", [("ErrorCode", p.code), ("ErrorMessage", p.message), ("ReceiptHandle", receipt_handle)])
            for receipt_handle, p in failures
        ]
        return xml.render(_answer(failures[0][1].status), ("Errors", listed))

    def _ChangeMessageVisibility(self) -> Response:  # noqa: N802
        if "ReceiptHandle" not in self.query:
            raise ApiError("MissingReceiptHandle", 400)
        if "VisibilityTimeout" not in self.query:
            raise ApiError("MissingVisibilityTimeout", 400)
        seconds = self.integer("VisibilityTimeout", 0)
        message = self.backend.change_visibility(self.account, self.name, self.query["ReceiptHandle"], seconds)
        changed: list[Element] = [
            ("ReceiptHandle", message.receipt_handle),
            ("NextVisibleTime", message.next_visible_time),
        ]
        return xml.render(_answer(200), ("ChangeVisibility", changed))


def _not_empty(messages: list[Message]) -> list[Message]:
    if not messages:
        raise ApiError("MessageNotExist", 404)
    return messages


OPERATIONS = frozenset(name[1:] for name in vars(_Call) if re.fullmatch(r"_[A-Z]\w*", name))
"""The operations that are offered."""


def access(request: Request, region: str, account: str) -> Access:
    """What a caller of `account` asks for. The batch forms have no actions of their own."""
    name = action(request).removeprefix("Batch")
    return Access(f"mns:{name}", [f"acs:mns:{region}:{account}:{unquote(request.path)}"])


def refused(_denied: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    message = "The OwnerId that your Access Key Id associated to is forbidden for this operation."
    return ApiError("AccessDenied", 403, message)
