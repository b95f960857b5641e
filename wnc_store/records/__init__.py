"""Models of rooms and chats, and their JSON."""
