"""The LLM orchestrator: one OpenAI-compatible chat API, whoever answers behind it."""
