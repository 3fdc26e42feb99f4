"""`crossover uat`: what users expect of the backend, asked of a stack that is up, with a report of what came of it."""
