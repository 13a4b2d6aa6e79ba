"""The proof on a card: whether everything that is promised of a GPU holds on this one, within 540 seconds."""
