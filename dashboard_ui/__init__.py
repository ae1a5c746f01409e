"""The pages: what operations answer, as HTML that works without JavaScript; nothing is fetched from elsewhere."""
