"""The page in a real browser against the real server. Skipped where there is no Chromium."""
