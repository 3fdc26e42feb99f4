"""How the backend performs under its own load: what was measured over a while, and whether it is as good as before."""
