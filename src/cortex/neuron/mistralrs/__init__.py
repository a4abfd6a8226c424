"""mistral.rs: what its server says and takes, and its two harnesses, one server for all models or one for each."""
