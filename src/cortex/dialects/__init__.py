"""PURE. Protocol machines; the pivot is OpenAI chat, unknown fields pass through untouched."""
