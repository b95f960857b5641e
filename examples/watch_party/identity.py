"""What goes at a party: who is who, which names are one name, what can be watched. No I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from urllib.parse import urlsplit

from watch_party.messages import Play
from wnc_store import Room, User, VideoState, rules

LONGEST_NAME = 40
TEST_FILM = "film:sunrise"
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
_YOUTUBE = ("youtube.com", "youtu.be", "youtube-nocookie.com")
_FILES = (".mp4", ".webm", ".ogv", ".m4v")
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Bidirectional classes of what turns letters round, so that "adA" is seen as "Ada"."""
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Letters and marks that show nothing. Controls and blanks are told by their category."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """Raised when a guest may not do that.

    Attributes:
        reason: a word that the page has a sentence for.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def new_code() -> str:
    """Return a code for a new room: short enough to be read out, one of 10^9."""
    return "".join(secrets.choice(_LETTERS) for _ in range(6))


def user_id_of(key: str) -> str:
    """Return the id of whoever has that key: everybody may see an id, and nobody can make the key from it."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def tidy_name(name: str) -> str:
    """Return a name as it is shown.

    Raises:
        Refused: nothing of it would be seen, or it is too long.
    """
    name = "".join(letter for letter in name if unicodedata.bidirectional(letter) not in _TURNS)
    name = " ".join(name.split())
    if not same_name(name) or len(name) > LONGEST_NAME:
        raise Refused("badName")
    return name


def same_name(name: str) -> str:
    """Return what two names have in common that look alike: "Ada", "ADA" and an "A da" with invisible letters."""
    shown = _UNSEEN.sub("", unicodedata.normalize("NFKC", name)).casefold()
    return "".join(letter for letter in shown if unicodedata.category(letter)[0] not in "CZ")


def enter(room: Room, user: User, *, key: str, most: int) -> Room:
    """Return the room with the user in it, as its host if the key is the host token; who is in it stays as they are.

    Raises:
        Refused: somebody else in the room has that name, or `most` are in it.
    """
    if room.user(user.id) is not None:
        return room
    if same_name(user.name) in {same_name(other.name) for other in room.users}:
        raise Refused("nameTaken")
    if len(room.users) >= most:
        raise Refused("full")
    room = room.model_copy(update={"users": (*room.users, user)})
    return rules.transfer_host(room, user.id) if room.verify_host_token(key) else room


def play(state: VideoState, wish: Play, *, now_ms: int) -> VideoState:
    """Return the state of a video after a wish of the host: what is not wished for goes on as it was."""
    passed = max(0, now_ms - state.last_update_time) / 1000 if state.is_playing else 0
    duration = state.duration if wish.duration is None else wish.duration
    position = state.current_time + passed if wish.position is None else wish.position
    changes = {
        "is_playing": state.is_playing if wish.playing is None else wish.playing,
        "current_time": min(position, duration) if duration else position,
        "duration": duration,
        "last_update_time": now_ms,
    }
    return state.model_copy(update=changes)


def kind_of_video(url: str) -> str:
    """Return which player a video needs: "youtube", "file", or "film", which the page draws itself.

    Raises:
        Refused: it is no address of a video.
    """
    if url == TEST_FILM:
        return "film"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise Refused("badVideo") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise Refused("badVideo")
    if any(host == site or host.endswith(f".{site}") for site in _YOUTUBE):
        return "youtube"
    return "file" if parts.path.lower().endswith(_FILES) else "film"
