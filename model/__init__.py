"""The core that service and training share: from the bytes of a photograph to disc, cup and ratio."""
