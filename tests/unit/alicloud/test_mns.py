"""Messages on their queues: which queue, and after which delay."""

from __future__ import annotations

import base64

import msgspec
import pytest
from link_peer.alicloud.mns import MnsQueue
from link_peer.domain.errors import Transient
from link_peer.domain.model import Party
from link_peer.domain.request import look_request
from link_peer.inbound.requests import decode
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock

from tests.unit.alicloud.adapter import HOME, REGION, settings

OWN = "link-peer-requests-b"


def bodies(cloud: LocalCloud, queue: str) -> list[bytes]:
    """What a consumer of the queue receives now."""
    return [base64.b64decode(message.body) for message in cloud.mns.receive(HOME, queue, max_n=16)]


def test_a_message_goes_to_the_queue_of_the_settings(local_cloud: LocalCloud) -> None:
    """It is read as it was posted, at once."""
    look = look_request(Party(HOME, "i-web"), REGION, float(int(local_cloud.clock.now()) + 60))
    MnsQueue(settings(local_cloud), HOME).post(look)
    [body] = bodies(local_cloud, local_cloud.world.queue)
    assert decode(body.decode(), region=REGION, now=local_cloud.clock.now()) == look


def test_a_message_may_go_to_another_queue_of_the_home_account(local_cloud: LocalCloud) -> None:
    local_cloud.mns.create_queue(HOME, OWN)
    MnsQueue(settings(local_cloud), HOME).post(look_request(Party(HOME, "i-web"), REGION, 0.0), queue=OWN)
    assert len(bodies(local_cloud, OWN)) == 1
    assert bodies(local_cloud, local_cloud.world.queue) == []


def test_a_delayed_message_is_delivered_later(local_cloud: LocalCloud) -> None:
    assert isinstance(local_cloud.clock, VirtualClock)
    MnsQueue(settings(local_cloud), HOME).post(look_request(Party(HOME, "i-web"), REGION, 0.0), delay=600)
    local_cloud.clock.advance(599)
    assert bodies(local_cloud, local_cloud.world.queue) == []
    local_cloud.clock.advance(2)
    assert len(bodies(local_cloud, local_cloud.world.queue)) == 1


@pytest.mark.parametrize("queue", ["", "no-such-queue"])
def test_without_its_queue_a_message_cannot_be_posted(local_cloud: LocalCloud, queue: str) -> None:
    """Neither with no name in the settings, nor on a queue that does not exist."""
    unset = msgspec.structs.replace(settings(local_cloud), queue="")
    with pytest.raises(Transient):
        MnsQueue(unset, HOME).post(look_request(Party(HOME, "i-web"), REGION, 0.0), queue=queue)
