"""The interactive figures of a study: each draws what was computed elsewhere, and decides nothing but the layout."""
