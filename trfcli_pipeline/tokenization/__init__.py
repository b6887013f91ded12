"""From a Doc to wordpieces that are aligned with its tokens."""
