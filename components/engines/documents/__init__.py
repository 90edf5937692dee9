"""Documents of any kind -> pages with text, tables and figures in their places -> chunks."""
