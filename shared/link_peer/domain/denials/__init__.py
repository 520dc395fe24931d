"""Every denial, with its text and its advice: no other folder words one.

Each function or constant gives one `Denial`: what was decided against, the fact that decided, and what to do about it: where
a command does it, that command, in the form of `domain.advice`.
"""

from link_peer.domain.denials.ecs import *
from link_peer.domain.denials.links import *
from link_peer.domain.denials.messages import *
from link_peer.domain.denials.parties import *
from link_peer.domain.denials.policy import *
