"""What every part of the marketplace shares: terms, changes of state, timers."""
