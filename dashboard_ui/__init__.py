"""The pages: views that turn control's values into HTML, with no script and nothing fetched from elsewhere."""
