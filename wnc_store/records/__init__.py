"""The records of a room and a chat, and their JSON."""
