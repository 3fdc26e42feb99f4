"""`crossover console`: the state of a stack as a page that keeps itself up to date.

picture.py decides what is shown; reader.py asks for it, once a second however many look; page.py draws it; app.py
serves it, behind guard.py; tokens.py, acts.py and runner.py are there only where the page may do something.
"""

from cli.console.command import console

__all__ = ["console"]
