"""A small server that speaks OpenAI's images API and has a ComfyUI do the work; one process per loaded model."""
