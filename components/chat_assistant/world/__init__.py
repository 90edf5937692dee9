"""The sample world: instructions whose right answers are known, and requests that are to be refused."""
