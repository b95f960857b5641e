"""Rules of the watch party: user ids, names, playback and video links. No I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from urllib.parse import urlsplit

from watch_party.messages import Play
from wnc_store import Room, User, VideoState, rules

MAX_NAME_LENGTH = 40
TEST_FILM = "film:sunrise"
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without letters and digits that look alike
_YOUTUBE = ("youtube.com", "youtu.be", "youtube-nocookie.com")
_FILES = (".mp4", ".webm", ".ogv", ".m4v")
_BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Bidirectional classes of the control characters that reorder text, so that "adA" is displayed as "Ada"."""
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Invisible letters and combining characters. Control and space characters are recognized by their category."""


class RejectedError(Exception):
    """Raised when the app rejects a guest's request.

    Attributes:
        reason: a code that the page translates into a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def new_room_code() -> str:
    """Return a random room code of six characters, short enough to read aloud (10^9 codes)."""
    return "".join(secrets.choice(_LETTERS) for _ in range(6))


def user_id_for_key(key: str) -> str:
    """Return the id of the user with that key. Ids are public, and the key cannot be derived from the id."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def clean_name(name: str) -> str:
    """Return a name as the page displays it.

    Raises:
        RejectedError: the name is invisible or too long.
    """
    name = "".join(letter for letter in name if unicodedata.bidirectional(letter) not in _BIDI_CONTROLS)
    name = " ".join(name.split())
    if not name_key(name) or len(name) > MAX_NAME_LENGTH:
        raise RejectedError("badName")
    return name


def name_key(name: str) -> str:
    """Return the form of a name for comparison: "Ada", "ADA" and "A da" with invisible letters have the same."""
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name)).casefold()
    return "".join(letter for letter in visible if unicodedata.category(letter)[0] not in "CZ")


def add_user(room: Room, user: User, *, key: str, max_users: int) -> Room:
    """Return the room with the user added, as its host if the key is the host token.

    The room is returned unchanged if the user is in it.

    Raises:
        RejectedError: another user of the room has that name, or the room has `max_users` users.
    """
    if room.user(user.id) is not None:
        return room
    if name_key(user.name) in {name_key(other.name) for other in room.users}:
        raise RejectedError("nameTaken")
    if len(room.users) >= max_users:
        raise RejectedError("full")
    room = room.model_copy(update={"users": (*room.users, user)})
    return rules.transfer_host(room, user.id) if room.verify_host_token(key) else room


def apply_playback(state: VideoState, request: Play, *, now_ms: int) -> VideoState:
    """Return the playback state after a request of the host. Omitted fields continue unchanged."""
    passed = max(0, now_ms - state.last_update_time) / 1000 if state.is_playing else 0
    duration = state.duration if request.duration is None else request.duration
    position = state.current_time + passed if request.position is None else request.position
    changes = {
        "is_playing": state.is_playing if request.playing is None else request.playing,
        "current_time": min(position, duration) if duration else position,
        "duration": duration,
        "last_update_time": now_ms,
    }
    return state.model_copy(update=changes)


def video_type(url: str) -> str:
    """Return the type of player for a URL: "youtube", "file", or "film", which the page draws itself.

    Raises:
        RejectedError: the URL is not an http or https URL.
    """
    if url == TEST_FILM:
        return "film"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise RejectedError("badVideo") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise RejectedError("badVideo")
    if any(host == site or host.endswith(f".{site}") for site in _YOUTUBE):
        return "youtube"
    return "file" if parts.path.lower().endswith(_FILES) else "film"
