"""What a link that stands is now, in one word that every view shows. Pure.

| word        | meaning                                                                                              |
|-------------|------------------------------------------------------------------------------------------------------|
| `closing`   | its rules go at the next sweep, or the next full one: locked, consent ended, nobody asks any more, …  |
| `half-open` | one of the two rules of a mutual link is missing                                                     |
| `open`      | packets pass, in each direction that the link opens and on each of its ports                         |
| `partly`    | some packets pass, others do not                                                                     |
| `blocked`   | no packet passes                                                                                     |
| `unknown`   | something that decides about packets was not read                                                    |

The first that holds is the state.
"""

from __future__ import annotations

from link_peer.domain.model import ALL
from link_peer.planning.reach import Reach, Scene, both_ways, reach
from link_peer.planning.standing import Standing


def state_of(scene: Scene, link: Standing) -> tuple[str, str]:
    """The word, and what closes the link, which half is missing, or what decides about packets. Of packets, it is known as far as
    the rules of all groups of its instances were read."""
    if link.closing:
        return "closing", link.closing
    if link.half is not None:
        return "half-open", f"{link.half} has no rule"
    found = link_reach(scene, link)
    return found.word, found.detail


def link_reach(scene: Scene, link: Standing) -> Reach:
    """What becomes of a link's packets: of one by address, those of every instance of the group where a request asks for it."""
    if not link.mutual:
        return reach(scene, link.source, link.target, link.ports, () if link.requests else link.members)
    return both_ways(reach(scene, link.source, link.target, (ALL,)), reach(scene, link.target, link.source, (ALL,)))
