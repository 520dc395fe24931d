"""XML of MNS: building responses, and reading what clients send."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Response
from aliyun_local.mns.state import Message, body_md5

_XMLNS = "http://mns.aliyuncs.com/doc/v1/"

Element = tuple[str, "str | int | Iterable[Element]"]


def render(response: Response, root: Element) -> Response:
    """Put a document into a response: the root's name and its text or child elements."""
    name, content = root
    body = f'<?xml version="1.0" ?>\n<{name} xmlns="{_XMLNS}">{_inner(content)}</{name}>'
    response.headers["Content-Type"] = "text/xml;charset=utf-8"
    response.body = body.encode()
    return response


def _inner(content: str | int | Iterable[Element]) -> str:
    if isinstance(content, str | int):
        # A raw carriage return would be read back as a line feed (XML 1.0, 2.11).
        return escape(str(content), {"\r": "&#13;"})
    return "".join(f"<{name}>{_inner(inner)}</{name}>" for name, inner in content)


def receipt(identity: str, body: str) -> list[Element]:
    """The elements that confirm a sent message."""
    return [("MessageId", identity), ("MessageBodyMD5", body_md5(body))]


def peeked_elements(message: Message) -> list[Element]:
    """The elements of a peeked message."""
    return [
        *receipt(message.id, message.body),
        ("MessageBody", message.body),
        ("EnqueueTime", message.enqueue_time),
        ("FirstDequeueTime", message.first_dequeue_time),
        ("DequeueCount", message.dequeue_count),
        ("Priority", message.priority),
    ]


def received_elements(message: Message) -> list[Element]:
    """The elements of a received message."""
    handle_and_time: list[Element] = [
        ("ReceiptHandle", message.receipt_handle),
        ("NextVisibleTime", message.next_visible_time),
    ]
    return [*peeked_elements(message), *handle_and_time]


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds a tree of elements, text and CDATA; refuses a document type declaration, and so every entity."""

    def doctype(self, *_: object) -> None:
        raise ApiError("MalformedXML", 400)


def document(body: bytes, root: str) -> ElementTree.Element:
    """The root element of a body, without name spaces. ApiError when it is malformed or has another name."""
    parser = ElementTree.XMLParser(target=_NoDoctype())  # noqa: S314 - no document type, so no entities to expand
    try:
        parsed = ElementTree.fromstring(body, parser)  # noqa: S314 - as above
    except (ElementTree.ParseError, LookupError, ValueError) as problem:  # the latter two: an unknown encoding
        raise ApiError("MalformedXML", 400) from problem
    for element in parsed.iter():
        element.tag = element.tag.rpartition("}")[2]
    if parsed.tag != root:
        raise bad_element(parsed.tag)
    return parsed


def read_message(element: ElementTree.Element) -> tuple[str, int | None, int]:
    """Body, delay (None: the queue's) and priority of one `<Message>`. The body is kept exactly as sent."""
    if element.tag != "Message":
        raise bad_element(element.tag)
    parts = {part.tag: part.text or "" for part in element}
    unknown = parts.keys() - {"MessageBody", "DelaySeconds", "Priority"}
    within = any(len(part) for part in element)  # <b> in a body that was not escaped
    if unknown or within or "MessageBody" not in parts:
        raise bad_element(next(iter(unknown), "MessageBody"))
    delay = parts.get("DelaySeconds")
    priority = integer("Priority", parts.get("Priority", "8"))
    return parts["MessageBody"], None if delay is None else integer("DelaySeconds", delay), priority


def integer(name: str, text: str) -> int:
    """A whole number of up to nine digits; ApiError naming the element otherwise."""
    if not re.fullmatch(r"-?\d{1,9}", text.strip(), re.ASCII):
        raise bad_element(name)
    return int(text)


def boolean(name: str, text: str) -> bool:
    """True or false in any case; ApiError naming the element otherwise."""
    if text.lower() not in ("true", "false"):
        raise bad_element(name)
    return text.lower() == "true"


def bad_element(name: str) -> ApiError:
    """The refusal of an element that the schema does not allow."""
    message = f"The XML you provided did not validate against our published schema, cause by {name}."
    return ApiError("InvalidArgument", 400, message)
