"""Pictures and captioned collections."""
