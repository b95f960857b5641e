"""Rules of the watch party: user ids, names, playback and video links. No I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from watch_party.messages import Play
from wnc_store import ChatMessage, Room, User, VideoState, rules

MAX_NAME_LENGTH = 40
MAX_REACTIONS = 200
TEST_FILM = "film:sunrise"
_CODE = re.compile(r"[A-Z0-9-]{4,32}")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without letters and digits that look alike
_YOUTUBE = ("youtube.com", "youtube-nocookie.com")
_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
_YOUTUBE_FOLDERS = {"embed", "shorts", "live", "v"}
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


def chosen_room_code(code: str) -> str:
    """Return the room code that a guest has chosen.

    Raises:
        RejectedError: the code is too short or too long, or contains other characters than letters, digits and hyphens.
    """
    if not _CODE.fullmatch(code):
        raise RejectedError("badCode")
    return code


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
    room = room.replace(users=(*room.users, user))
    return rules.transfer_host(room, user.id) if room.verify_host_token(key) else room


def react(message: ChatMessage, *, user_id: str, emoji: str, on: bool) -> ChatMessage:
    """Return the message with a user's reaction added or withdrawn.

    The reactions are in an extra field, as `{"👍": ["id of a user", ...]}`. A message has at most `MAX_REACTIONS`.
    """
    stored: Mapping[str, Sequence[str]] = message.model_extra.get("reactions", {})
    reactions = {name: list(users) for name, users in stored.items()}
    users = reactions.pop(emoji, [])
    others = [user for user in users if user != user_id]
    if on and sum(map(len, reactions.values())) + len(others) < MAX_REACTIONS:
        others.append(user_id)
    if others:
        reactions[emoji] = others
    return message.model_copy(update={"reactions": reactions})


def apply_playback(state: VideoState, request: Play, *, now_ms: int) -> VideoState:
    """Return the playback state after a request of the host. Omitted fields continue unchanged."""
    passed = max(0, now_ms - state.last_update_time) / 1000 if state.is_playing else 0
    duration = state.duration if request.duration is None else request.duration
    position = state.current_time + passed if request.position is None else request.position
    return state.replace(
        is_playing=state.is_playing if request.playing is None else request.playing,
        current_time=min(position, duration) if duration else position,
        duration=duration,
        last_update_time=now_ms,
    )


class Video(NamedTuple):
    """A video: its URL, and its type of player: "youtube", "file", or "film", which the page draws itself."""

    url: str
    type: str


def find_video(url: str) -> Video:
    """Return the video of a URL. All links to a YouTube video give `https://www.youtube.com/watch?v=ID`.

    Raises:
        RejectedError: the URL is not an http or https URL, or it is neither a YouTube video nor a video file.
    """
    if url == TEST_FILM:
        return Video(url, "film")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        _ = parts.port  # validates the port
    except ValueError:
        raise RejectedError("badVideo") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise RejectedError("badVideo")
    if youtube_id := _youtube_id(host, parts):
        return Video(f"https://www.youtube.com/watch?v={youtube_id}", "youtube")
    if not parts.path.lower().endswith(_FILES):
        raise RejectedError("notVideo")
    return Video(url, "file")


def _youtube_id(host: str, parts: SplitResult) -> str | None:
    """Return the id in a link to a YouTube video, or None if the link is anything else."""
    _, first, second = (*parts.path.split("/"), "", "")[:3]
    if host in {"youtu.be", "www.youtu.be"}:
        found = first
    elif not any(host == site or host.endswith(f".{site}") for site in _YOUTUBE):
        return None
    else:
        found = second if first in _YOUTUBE_FOLDERS else parse_qs(parts.query).get("v", [""])[0]
    return found if _YOUTUBE_ID.fullmatch(found) else None
