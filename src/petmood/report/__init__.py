"""What petmood found, for people: offline HTML files, and a few lines for the terminal."""
