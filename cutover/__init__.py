"""What runs in the Transition Jobs and the mirror: plans (pure), and the switch (effects)."""
