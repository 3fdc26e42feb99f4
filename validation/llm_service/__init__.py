"""The language models' quality gate: does the new side answer trading questions no worse than the old one?

`gate.judge` asks both sides the same labelled prompts and judges the pairs; how is written in docs/llm-quality.md.
"""
